-- It was taken. $2 the epoch of whoever sent it
UPDATE export_notifications
SET sent_at = clock_timestamp(), error_code = NULL, error_message = NULL
WHERE event_id = $1 AND lease_epoch = $2 AND sent_at IS NULL AND dead_at IS NULL
