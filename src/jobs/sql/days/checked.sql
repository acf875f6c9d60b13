-- A day's folder says what is known of it. It is looked at again when twice as much time has gone by since its end.
-- $2 whether every table's latest revision is published, $3 seconds, at least
UPDATE export_days
SET succeeded = $2,
    check_due_at = clock_timestamp() + greatest(clock_timestamp() - closed_at, make_interval(secs => $3))
WHERE job_id = $1 AND check_due_at IS NOT NULL
