-- The visible files of a restated table could not be replaced: others come first, and it is tried again. $3 seconds
UPDATE export_day_swaps SET due_at = clock_timestamp() + make_interval(secs => $3)
WHERE job_id = $1 AND table_name = $2 AND done_at IS NULL
