-- The fenced commit of a publication. $4 files as JSON
UPDATE export_job_tables
SET state = 'COMPLETED', worker = NULL, lease_until = NULL, files = $4, manifest = NULL, progress_at = clock_timestamp()
WHERE job_id = $1 AND table_name = $2 AND lease_epoch = $3 AND state = 'FINALIZING'
RETURNING job_id
