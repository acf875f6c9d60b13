-- Ends what is open of a failed table. The new epoch takes the lease from whoever works on it: their next heartbeat
-- finds it lost.
UPDATE export_job_partitions
SET state = CASE WHEN id = $3 THEN 'FAILED' ELSE 'CANCELLED' END, worker = NULL, lease_until = NULL,
    lease_epoch = lease_epoch + 1, completed_at = clock_timestamp(),
    error_code = CASE WHEN id = $3 THEN $4 END, error_message = CASE WHEN id = $3 THEN $5 END
WHERE job_id = $1 AND table_name = $2 AND state IN ('PENDING', 'RUNNING')
