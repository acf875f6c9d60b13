-- Gives up a partition whose job is being ended.
UPDATE export_job_partitions
SET state = 'CANCELLED', worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1, completed_at = clock_timestamp()
WHERE id = $1 AND lease_epoch = $2 AND state = 'RUNNING'
  AND EXISTS (SELECT 1 FROM export_jobs AS job WHERE job.id = job_id AND job.state NOT IN ('RUNNING', 'FINALIZING'))
RETURNING job_id
