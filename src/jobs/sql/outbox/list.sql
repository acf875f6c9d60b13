-- Notifications, newest first. $1 state (or NULL for all), $2 and $3 the last one seen (or NULL), $4 how many
SELECT event_id, event_type, status, body, occurred_at, attempts, due_at, sent_at, dead_at, error_code, error_message
FROM export_notifications
WHERE ($1::text IS NULL
       OR $1 = CASE WHEN sent_at IS NOT NULL THEN 'SENT' WHEN dead_at IS NOT NULL THEN 'DEAD' ELSE 'PENDING' END)
  AND ($2::timestamptz IS NULL OR (occurred_at, event_id) < ($2, $3::uuid))
ORDER BY occurred_at DESC, event_id DESC
LIMIT $4
