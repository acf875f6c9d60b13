-- Locks a job that may be cleared. $2 tenant (or NULL for any), $3 seconds after which what does not move is stalled
SELECT job.tenant, job.kind, job.state, job.error_code, export_last_progress(job) AS since,
       export_last_progress(job) <= clock_timestamp() - make_interval(secs => $3)
           AND (job.paused_until IS NULL OR job.paused_until <= clock_timestamp()) AS stalled,
       extract(epoch FROM clock_timestamp() - export_last_progress(job))::float8 AS idle_seconds
FROM export_jobs AS job
WHERE job.id = $1 AND ($2::text IS NULL OR job.tenant = $2)
FOR UPDATE OF job
