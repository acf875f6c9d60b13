-- The folder of a day could not be compared: others come first, and it is tried again. $2 seconds
UPDATE export_days SET check_due_at = clock_timestamp() + make_interval(secs => $2)
WHERE job_id = $1 AND check_due_at IS NOT NULL
