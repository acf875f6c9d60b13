-- Jobs that are worked on and of which nothing has moved for a while, the longest first, with what is known of whoever
-- worked on what is open of them. $1 tenant (or NULL for all), $2 seconds without progress
SELECT job.id, job.tenant, job.kind, job.state, job.requested_by, job.window_start, job.window_end,
       export_last_progress(job) AS since, clock_timestamp() AS read_at,
       work.last_heartbeat, work.worker, work.attempts, work.crashes, work.reaped_at, work.error_code, work.error_message,
       work.tables, work.running, work.waiting
FROM export_jobs AS job
CROSS JOIN LATERAL (
    SELECT max(open.heartbeat_at) AS last_heartbeat,
           (array_agg(open.last_worker ORDER BY open.heartbeat_at DESC NULLS LAST))[1] AS worker,
           coalesce(max(open.attempts), 0) AS attempts,
           coalesce(sum(open.crashes), 0)::bigint AS crashes,
           max(open.reaped_at) AS reaped_at,
           (array_agg(open.error_code ORDER BY open.heartbeat_at DESC NULLS LAST)
               FILTER (WHERE open.error_code IS NOT NULL))[1] AS error_code,
           (array_agg(open.error_message ORDER BY open.heartbeat_at DESC NULLS LAST)
               FILTER (WHERE open.error_code IS NOT NULL))[1] AS error_message,
           coalesce(array_agg(DISTINCT open.table_name) FILTER (WHERE open.table_name IS NOT NULL), '{}') AS tables,
           count(*) FILTER (WHERE open.leased) AS running,
           count(*) FILTER (WHERE NOT open.leased) AS waiting
    FROM (
        SELECT NULL::text AS table_name, job.heartbeat_at, job.last_worker, job.attempts, job.crashes, job.reaped_at,
               job.last_error_code AS error_code, job.last_error_message AS error_message,
               job.lease_until IS NOT NULL AS leased
        WHERE job.state = 'PLANNING'
        UNION ALL
        SELECT t.table_name, t.heartbeat_at, t.last_worker, t.attempts, t.crashes, t.reaped_at, t.last_error_code,
               t.last_error_message, t.lease_until IS NOT NULL
        FROM export_job_tables AS t
        WHERE t.job_id = job.id AND t.state IN ('READY', 'FINALIZING')
        UNION ALL
        SELECT p.table_name, p.heartbeat_at, p.last_worker, p.attempts, p.crashes, p.reaped_at, p.error_code,
               p.error_message, p.lease_until IS NOT NULL
        FROM export_job_partitions AS p
        WHERE p.job_id = job.id AND p.state IN ('PENDING', 'RUNNING')
    ) AS open
) AS work
WHERE job.slot IS NOT NULL AND job.state IN ('PLANNING', 'RUNNING', 'FINALIZING', 'CANCELLING')
  AND ($1::text IS NULL OR job.tenant = $1)
  AND (job.paused_until IS NULL OR job.paused_until <= clock_timestamp())
  AND export_last_progress(job) <= clock_timestamp() - make_interval(secs => $2)
ORDER BY since, job.id
LIMIT 1000
