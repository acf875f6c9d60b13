-- Lets on-demand jobs expire that ended long ago. One that published nothing stays what it is; there is nothing to go.
-- $1 seconds that files are kept
WITH old AS MATERIALIZED (
    SELECT job.id,
           job.state = 'COMPLETED' OR EXISTS (SELECT 1 FROM export_job_tables AS t
                                              WHERE t.job_id = job.id AND t.state = 'COMPLETED') AS published
    FROM export_jobs AS job
    WHERE job.kind = 'on_demand' AND job.state IN ('COMPLETED', 'FAILED', 'CANCELLED') AND job.purged_at IS NULL
      AND job.completed_at <= clock_timestamp() - make_interval(secs => $1)
    ORDER BY job.completed_at
    LIMIT 200
    FOR UPDATE SKIP LOCKED
)
UPDATE export_jobs AS job
SET state = CASE WHEN old.published THEN 'EXPIRED' ELSE job.state END,
    purged_at = CASE WHEN NOT old.published THEN clock_timestamp() END
FROM old
WHERE job.id = old.id
RETURNING job.id, old.published
