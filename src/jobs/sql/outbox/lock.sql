-- One notification, locked.
SELECT event_id, event_type, status, body, occurred_at, attempts, due_at, sent_at, dead_at, error_code, error_message
FROM export_notifications
WHERE event_id = $1
FOR UPDATE
