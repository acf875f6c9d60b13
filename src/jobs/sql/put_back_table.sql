-- Gives a table back to be published again. $4 seconds to wait, $5 whether the attempt counts
UPDATE export_job_tables
SET state = 'READY', worker = NULL, lease_until = NULL,
    due_at = clock_timestamp() + make_interval(secs => $4),
    attempts = CASE WHEN $5 THEN attempts ELSE attempts - 1 END
WHERE job_id = $1 AND table_name = $2 AND lease_epoch = $3 AND state = 'FINALIZING'
RETURNING job_id
