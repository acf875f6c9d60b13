-- Takes the tables that are sealed from whoever publishes them, for somebody else to finish.
UPDATE export_job_tables
SET state = 'READY', worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1, due_at = clock_timestamp()
WHERE job_id = $1 AND state = 'FINALIZING' AND sealed_at IS NOT NULL
