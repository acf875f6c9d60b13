-- Ends a table badly, unless it has ended already. $3 code, $4 message
UPDATE export_job_tables
SET state = 'FAILED', worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1,
    error_code = $3, error_message = $4
WHERE job_id = $1 AND table_name = $2 AND state IN ('EXTRACTING', 'READY', 'FINALIZING')
RETURNING job_id
