-- The fenced commit of a partition. No row: the lease was lost, and the staged object is the worker's to delete.
UPDATE export_job_partitions
SET state = 'COMPLETED', worker = NULL, lease_until = NULL, completed_at = clock_timestamp(),
    staging_key = $3, row_count = $4, byte_count = $5, sha256 = $6, etag = $7, report = $8, snapshot_id = $9,
    rows_seen = greatest(rows_seen, $4),
    error_code = NULL, error_message = NULL, progress_at = clock_timestamp()
WHERE id = $1 AND lease_epoch = $2 AND state = 'RUNNING'
  AND EXISTS (SELECT 1 FROM export_jobs AS job WHERE job.id = job_id AND job.state = 'RUNNING')
RETURNING job_id, table_name
