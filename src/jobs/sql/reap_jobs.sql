-- Takes back planning leases that have run out. What is no crash of a partition's worker is none here.
-- $1 lease in seconds
UPDATE export_jobs AS job
SET worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1, attempts = attempts - 1,
    crashes = crashes + CASE WHEN EXISTS (
        SELECT 1 FROM export_job_partitions AS other
        WHERE other.state = 'RUNNING' AND other.last_worker = job.worker
          AND other.heartbeat_at > job.heartbeat_at + make_interval(secs => $1 / 2))
        THEN 0 ELSE 1 END,
    reaped_at = clock_timestamp()
WHERE id IN (SELECT id FROM export_jobs
             WHERE state = 'PLANNING' AND lease_until < clock_timestamp() LIMIT 100 FOR UPDATE SKIP LOCKED)
