-- Seals a table whose row is locked, unless its job is being ended. Who ends a job locks its tables first, so what is
-- read of the job here stays true until this is committed.
UPDATE export_job_tables AS tables SET sealed_at = clock_timestamp()
FROM export_jobs AS job
WHERE tables.job_id = $1 AND tables.table_name = $2 AND job.id = tables.job_id AND job.state IN ('RUNNING', 'FINALIZING')
RETURNING tables.job_id
