-- Renews finalizing leases. A sealed table is published whatever becomes of its job. Locked by job and table: who ends
-- a job waits for its tables in the same order.
-- $1 jobs, $2 tables, $3 epochs, $4 lease in seconds, $5 what has moved so far
WITH held AS MATERIALIZED (
    SELECT tables.job_id, tables.table_name, beat.epoch, beat.moved
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $5::bigint[]) AS beat (job_id, table_name, epoch, moved)
    JOIN export_job_tables AS tables ON tables.job_id = beat.job_id AND tables.table_name = beat.table_name
    WHERE tables.lease_epoch = beat.epoch AND tables.state = 'FINALIZING'
    ORDER BY tables.job_id, tables.table_name
    FOR UPDATE OF tables
)
UPDATE export_job_tables AS tables
SET lease_until = clock_timestamp() + make_interval(secs => $4),
    heartbeat_at = clock_timestamp(),
    progress_at = CASE WHEN tables.moved = held.moved THEN tables.progress_at ELSE clock_timestamp() END,
    moved = held.moved
FROM held, export_jobs AS job
WHERE tables.job_id = held.job_id AND tables.table_name = held.table_name AND tables.lease_epoch = held.epoch
  AND tables.state = 'FINALIZING' AND job.id = tables.job_id
RETURNING tables.job_id, tables.table_name, job.state NOT IN ('RUNNING', 'FINALIZING') AND tables.sealed_at IS NULL AS ending
