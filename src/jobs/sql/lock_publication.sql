-- Locks a table that is being published, and tells whether it is sealed already.
SELECT sealed_at IS NOT NULL FROM export_job_tables
WHERE job_id = $1 AND table_name = $2 AND lease_epoch = $3 AND state = 'FINALIZING'
FOR UPDATE
