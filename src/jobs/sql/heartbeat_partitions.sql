-- Renews the leases that still have these epochs. A lease that is not in the answer is lost; one whose job is being
-- ended is to be given up. Locked by id: who ends a table waits for its partitions in the same order.
-- $1 ids, $2 epochs, $3 rows read so far, $4 lease in seconds, $5 what has moved so far
WITH held AS MATERIALIZED (
    SELECT partition.id, beat.epoch, beat.rows, beat.moved
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $5::bigint[]) AS beat (id, epoch, rows, moved)
    JOIN export_job_partitions AS partition ON partition.id = beat.id
    WHERE partition.lease_epoch = beat.epoch AND partition.state = 'RUNNING'
    ORDER BY partition.id
    FOR UPDATE OF partition
)
UPDATE export_job_partitions AS partition
SET lease_until = clock_timestamp() + make_interval(secs => $4),
    rows_seen = greatest(partition.rows_seen, held.rows),
    heartbeat_at = clock_timestamp(),
    progress_at = CASE WHEN partition.moved = held.moved THEN partition.progress_at ELSE clock_timestamp() END,
    moved = held.moved
FROM held, export_jobs AS job
WHERE partition.id = held.id AND partition.lease_epoch = held.epoch AND partition.state = 'RUNNING'
  AND job.id = partition.job_id
RETURNING partition.id, partition.lease_epoch, job.state NOT IN ('RUNNING', 'FINALIZING') AS ending
