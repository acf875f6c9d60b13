-- Says that a table is published. $3 rows, $4 bytes, $5 the manifest's address
UPDATE table_export_job_statuses
SET status = 'COMPLETED', row_count = $3, byte_count = $4, manifest_url = $5, completed_at = clock_timestamp()
WHERE job_id = $1 AND table_name = $2 AND status = 'IN-PROGRESS'
