-- Gives a job back to be planned again. $3 seconds to wait, $4 whether the attempt counts, $5 code and $6 message of what failed
UPDATE export_jobs
SET worker = NULL, lease_until = NULL,
    due_at = clock_timestamp() + make_interval(secs => $3),
    attempts = CASE WHEN $4 THEN attempts ELSE attempts - 1 END,
    last_error_code = coalesce($5, last_error_code), last_error_message = coalesce($6, last_error_message)
WHERE id = $1 AND lease_epoch = $2 AND state = 'PLANNING' AND lease_until IS NOT NULL
RETURNING id
