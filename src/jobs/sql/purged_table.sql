-- Notes that nothing of a table is left in the bucket.
UPDATE export_job_tables SET purged_at = clock_timestamp() WHERE job_id = $1 AND table_name = $2
