-- Puts one that was given up back to be sent now.
UPDATE export_notifications
SET dead_at = NULL, refusals = 0, queued_at = clock_timestamp(), due_at = clock_timestamp()
WHERE event_id = $1 AND dead_at IS NOT NULL
