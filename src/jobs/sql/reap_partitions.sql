-- Takes back partitions whose lease has run out. They keep their due time and their place; the lost worker counts
-- as a crash and not as an attempt. A worker renews all its partitions at once: one that has held another, of this job or now,
-- half a lease later has never heard of this one. The answer to its claim was lost, and that is no crash.
-- $1 lease in seconds
WITH late AS MATERIALIZED (
    SELECT id FROM export_job_partitions
    WHERE state = 'RUNNING' AND lease_until < clock_timestamp()
    ORDER BY lease_until
    LIMIT 100
    FOR UPDATE SKIP LOCKED
)
UPDATE export_job_partitions AS partition
SET state = 'PENDING',
    worker = NULL,
    lease_until = NULL,
    connection = NULL,
    lease_epoch = lease_epoch + 1,
    attempts = attempts - 1,
    crashes = crashes + CASE WHEN EXISTS (
        SELECT 1 FROM export_job_partitions AS other
        WHERE (other.state = 'RUNNING' OR other.job_id = partition.job_id) AND other.last_worker = partition.worker
          AND other.heartbeat_at > partition.heartbeat_at + make_interval(secs => $1 / 2))
        THEN 0 ELSE 1 END,
    reaped_at = clock_timestamp()
FROM late
WHERE partition.id = late.id
