-- It was not taken: put back, or given up. $2 epoch, $3 code, $4 message, $5 whether that does not pass by itself,
-- $6 pause in seconds, $7 such failures until it is given up, $8 seconds that it is tried for
UPDATE export_notifications
SET error_code = $3, error_message = $4,
    refusals = refusals + $5::boolean::int,
    due_at = clock_timestamp() + make_interval(secs => $6),
    dead_at = CASE WHEN refusals + $5::boolean::int >= $7
                     OR clock_timestamp() >= queued_at + make_interval(secs => $8)
                   THEN clock_timestamp() END
WHERE event_id = $1 AND lease_epoch = $2 AND sent_at IS NULL AND dead_at IS NULL
RETURNING dead_at IS NOT NULL
