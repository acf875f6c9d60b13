-- Takes the next due partition in the fair order, those on demand before those of the schedule, and notes that its table is in progress.
-- With a limit on connections to the warehouse it takes a free one of them, too; of two who take the same one, the
-- unique index lets one through.
-- $1 worker, $2 lease in seconds, $3 only this job (or NULL), $4 connections to the warehouse (or 0), $5 lost workers
-- after which it is poison
WITH free AS MATERIALIZED (
    SELECT one.connection
    FROM generate_series(0, $4::int - 1) AS one (connection)
    WHERE NOT EXISTS (SELECT 1 FROM export_job_partitions AS running
                      WHERE running.state = 'RUNNING' AND running.connection = one.connection)
    ORDER BY random()
    LIMIT 1
), next AS MATERIALIZED (
    SELECT id
    FROM export_job_partitions
    WHERE state = 'PENDING' AND due_at <= clock_timestamp() AND crashes < $5 AND ($3::uuid IS NULL OR job_id = $3)
      AND EXISTS (SELECT 1 FROM export_jobs AS job
                  WHERE job.id = job_id AND job.state = 'RUNNING'
                    AND (job.paused_until IS NULL OR job.paused_until <= clock_timestamp()))
      AND ($4 = 0 OR EXISTS (SELECT 1 FROM free))
    ORDER BY scheduled, fair_key, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE export_job_partitions AS partition
    SET state = 'RUNNING',
        worker = $1,
        lease_epoch = lease_epoch + 1,
        lease_until = clock_timestamp() + make_interval(secs => $2),
        attempts = attempts + 1,
        started_at = coalesce(started_at, clock_timestamp()),
        last_worker = $1,
        heartbeat_at = clock_timestamp(),
        progress_at = clock_timestamp(),
        moved = 0,
        connection = (SELECT free.connection FROM free)
    FROM next
    WHERE partition.id = next.id
    RETURNING partition.*
), noted AS (
    INSERT INTO table_export_job_statuses AS status
        (job_id, kind, tenant, table_name, window_start, window_end, status, attempts, policy_hash, schedule,
         export_date, revision)
    SELECT job.id, job.kind, job.tenant, claimed.table_name, job.window_start, job.window_end, 'IN-PROGRESS', 1,
           tables.plan -> 'policy' ->> 'hash', day.schedule, day.export_date, coalesce(day.revision, 1)
    FROM claimed
    JOIN export_jobs AS job ON job.id = claimed.job_id
    LEFT JOIN export_days AS day ON day.job_id = job.id
    JOIN export_job_tables AS tables ON tables.job_id = claimed.job_id AND tables.table_name = claimed.table_name
    ON CONFLICT (job_id, table_name) DO UPDATE SET attempts = status.attempts + 1
)
SELECT claimed.id, claimed.job_id, claimed.table_name, claimed.ordinal, claimed.scan, claimed.lease_epoch,
       claimed.attempts, claimed.conflicts, job.tenant, tables.plan, tables.partitions_total
FROM claimed
JOIN export_jobs AS job ON job.id = claimed.job_id
JOIN export_job_tables AS tables ON tables.job_id = claimed.job_id AND tables.table_name = claimed.table_name
