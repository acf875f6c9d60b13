-- Gives a partition back, and lets its job wait: nothing of it is claimed meanwhile, and what runs goes on. No attempt,
-- and no failure. $3 seconds, $4 code and $5 message of what is waited for
WITH back AS (
    UPDATE export_job_partitions
    SET state = 'PENDING', worker = NULL, lease_until = NULL, connection = NULL, attempts = attempts - 1
    WHERE id = $1 AND lease_epoch = $2 AND state = 'RUNNING'
    RETURNING job_id, table_name
), uncounted AS (
    UPDATE table_export_job_statuses AS status
    SET attempts = status.attempts - 1
    FROM back
    WHERE status.job_id = back.job_id AND status.table_name = back.table_name AND status.attempts > 0
), paused AS (
    UPDATE export_jobs AS job
    SET paused_until = clock_timestamp() + make_interval(secs => $3), paused_code = $4, paused_message = $5
    FROM back
    WHERE job.id = back.job_id AND job.state = 'RUNNING'
)
SELECT job_id FROM back
