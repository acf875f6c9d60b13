-- Renews finalizing leases. A sealed table is published whatever becomes of its job.
-- $1 jobs, $2 tables, $3 epochs, $4 lease in seconds, $5 what has moved so far
UPDATE export_job_tables AS tables
SET lease_until = clock_timestamp() + make_interval(secs => $4),
    heartbeat_at = clock_timestamp(),
    progress_at = CASE WHEN tables.moved = beat.moved THEN tables.progress_at ELSE clock_timestamp() END,
    moved = beat.moved
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $5::bigint[]) AS beat (job_id, table_name, epoch, moved),
     export_jobs AS job
WHERE tables.job_id = beat.job_id AND tables.table_name = beat.table_name AND tables.lease_epoch = beat.epoch
  AND tables.state = 'FINALIZING' AND job.id = tables.job_id
RETURNING tables.job_id, tables.table_name, job.state NOT IN ('RUNNING', 'FINALIZING') AND tables.sealed_at IS NULL AS ending
