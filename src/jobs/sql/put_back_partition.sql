-- Gives a partition back, to be tried again after a pause. $3 seconds to wait, $4 whether the attempt counts
UPDATE export_job_partitions
SET state = 'PENDING', worker = NULL, lease_until = NULL, connection = NULL,
    due_at = clock_timestamp() + make_interval(secs => $3),
    attempts = CASE WHEN $4 THEN attempts ELSE attempts - 1 END,
    error_code = $5, error_message = $6
WHERE id = $1 AND lease_epoch = $2 AND state = 'RUNNING'
RETURNING id
