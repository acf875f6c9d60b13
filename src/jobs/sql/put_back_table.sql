-- Gives a table back to be published again. $4 seconds to wait, $5 whether the attempt counts, $6 code and $7 message of what failed
UPDATE export_job_tables
SET state = 'READY', worker = NULL, lease_until = NULL,
    due_at = clock_timestamp() + make_interval(secs => $4),
    attempts = CASE WHEN $5 THEN attempts ELSE attempts - 1 END,
    last_error_code = coalesce($6, last_error_code), last_error_message = coalesce($7, last_error_message)
WHERE job_id = $1 AND table_name = $2 AND lease_epoch = $3 AND state = 'FINALIZING'
RETURNING job_id
