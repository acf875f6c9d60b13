-- Ends a job that could not be planned. $2 epoch (or NULL, when nobody holds the lease), $3 code, $4 message
UPDATE export_jobs
SET state = 'FAILED', slot = NULL, worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1,
    completed_at = clock_timestamp(), error_code = $3, error_message = $4
WHERE id = $1 AND state = 'PLANNING'
  AND CASE WHEN $2::bigint IS NULL THEN lease_until IS NULL ELSE lease_epoch = $2 AND lease_until IS NOT NULL END
RETURNING id
