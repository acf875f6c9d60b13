-- Ends the partitions that nobody works on, and with $2 also those that somebody does. Whoever commits one in this very
-- moment is not waited for: a worker holds its partition while it waits for the job.
UPDATE export_job_partitions
SET state = 'CANCELLED', worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1, completed_at = clock_timestamp()
WHERE id IN (SELECT id FROM export_job_partitions
             WHERE job_id = $1 AND (state = 'PENDING' OR ($2 AND state = 'RUNNING'))
             ORDER BY id
             FOR UPDATE SKIP LOCKED)
