-- The fenced commit of a partition. No row: the lease was lost, and the staged object is the worker's to delete.
UPDATE export_job_partitions
SET state = 'COMPLETED', worker = NULL, lease_until = NULL, completed_at = clock_timestamp(),
    staging_key = $3, row_count = $4, byte_count = $5, sha256 = $6, etag = $7, report = $8, rows_seen = greatest(rows_seen, $4),
    error_code = NULL, error_message = NULL
WHERE id = $1 AND lease_epoch = $2 AND state = 'RUNNING'
RETURNING job_id, table_name
