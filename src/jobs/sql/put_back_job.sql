-- Gives a job back to be planned again. $3 seconds to wait, $4 whether the attempt counts
UPDATE export_jobs
SET worker = NULL, lease_until = NULL,
    due_at = clock_timestamp() + make_interval(secs => $3),
    attempts = CASE WHEN $4 THEN attempts ELSE attempts - 1 END
WHERE id = $1 AND lease_epoch = $2 AND state = 'PLANNING' AND lease_until IS NOT NULL
RETURNING id
