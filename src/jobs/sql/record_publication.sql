-- Records the final names of a table's files before the first is written. $4 keys as JSON
UPDATE export_job_tables SET publication = $4
WHERE job_id = $1 AND table_name = $2 AND lease_epoch = $3 AND state = 'FINALIZING'
RETURNING job_id
