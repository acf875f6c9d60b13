-- Takes back finalizing leases that have run out: publishing is repeated, with the same bytes. What is no crash of a
-- partition's worker is none here. $1 lease in seconds
UPDATE export_job_tables AS tables
SET state = 'READY', worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1, attempts = attempts - 1,
    crashes = crashes + CASE WHEN EXISTS (
        SELECT 1 FROM export_job_partitions AS other
        WHERE (other.state = 'RUNNING' OR other.job_id = tables.job_id) AND other.last_worker = tables.worker
          AND other.heartbeat_at > tables.heartbeat_at + make_interval(secs => $1 / 2))
        THEN 0 ELSE 1 END,
    reaped_at = clock_timestamp()
WHERE (job_id, table_name) IN (SELECT job_id, table_name FROM export_job_tables
                               WHERE state = 'FINALIZING' AND lease_until < clock_timestamp()
                               LIMIT 100 FOR UPDATE SKIP LOCKED)
