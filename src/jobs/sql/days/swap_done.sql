-- The visible files of a restated table are those of its revision now.
UPDATE export_day_swaps SET done_at = clock_timestamp() WHERE job_id = $1 AND table_name = $2
