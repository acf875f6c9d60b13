-- How many requests ended long enough ago to be archived, counted no further than $2. $1 seconds since their end
SELECT count(*) FROM (
    SELECT 1 FROM export_jobs
    WHERE kind = 'on_demand' AND state IN ('FAILED', 'CANCELLED', 'EXPIRED') AND purged_at IS NOT NULL
      AND completed_at <= clock_timestamp() - make_interval(secs => $1)
    LIMIT $2
) AS old
