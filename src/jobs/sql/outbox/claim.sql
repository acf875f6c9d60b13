-- Takes what is due, the longest due first; it is not due again before its lease has run out.
-- $1 how many, $2 lease in seconds
UPDATE export_notifications AS taken
SET due_at = clock_timestamp() + make_interval(secs => $2), lease_epoch = taken.lease_epoch + 1,
    attempts = taken.attempts + 1
WHERE taken.event_id IN (
    SELECT event_id FROM export_notifications
    WHERE sent_at IS NULL AND dead_at IS NULL AND due_at <= clock_timestamp()
    ORDER BY due_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
RETURNING taken.event_id, taken.event_type, taken.status, taken.occurred_at, taken.body, taken.attempts,
          taken.lease_epoch
