-- Takes back an attempt that was none from what is told of a table.
UPDATE table_export_job_statuses SET attempts = attempts - 1 WHERE job_id = $1 AND table_name = $2 AND attempts > 0
