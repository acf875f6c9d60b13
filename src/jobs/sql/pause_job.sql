-- Gives a job back to be planned when what it waits for may be there. No attempt, and no failure.
-- $3 seconds, $4 code and $5 message of what is waited for
UPDATE export_jobs
SET worker = NULL, lease_until = NULL, attempts = attempts - 1,
    paused_until = clock_timestamp() + make_interval(secs => $3), paused_code = $4, paused_message = $5
WHERE id = $1 AND lease_epoch = $2 AND state = 'PLANNING' AND lease_until IS NOT NULL
RETURNING id
