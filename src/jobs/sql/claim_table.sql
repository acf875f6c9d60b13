-- Takes one table whose partitions are all staged, to publish it.
-- $1 worker, $2 lease in seconds, $3 only this job (or NULL), $4 lost workers after which it is poison
WITH next AS MATERIALIZED (
    SELECT job_id, table_name
    FROM export_job_tables
    WHERE state = 'READY' AND due_at <= clock_timestamp() AND crashes < $4 AND ($3::uuid IS NULL OR job_id = $3)
      AND (sealed_at IS NOT NULL
           OR EXISTS (SELECT 1 FROM export_jobs AS job WHERE job.id = job_id AND job.state IN ('RUNNING', 'FINALIZING')))
    ORDER BY due_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE export_job_tables AS tables
SET state = 'FINALIZING',
    worker = $1,
    lease_epoch = lease_epoch + 1,
    lease_until = clock_timestamp() + make_interval(secs => $2),
    attempts = attempts + 1,
    last_worker = $1,
    heartbeat_at = clock_timestamp(),
    progress_at = clock_timestamp(),
    moved = 0
FROM next
WHERE tables.job_id = next.job_id AND tables.table_name = next.table_name
RETURNING tables.job_id, tables.table_name, tables.directory, tables.plan, tables.lease_epoch, tables.attempts
