-- How many requests of a tenant wait for a slot in a place of their own, counted no further than the limit.
SELECT count(*) FROM (
    SELECT 1 FROM export_jobs
    WHERE tenant = $1 AND kind = 'on_demand' AND state = 'QUEUED' AND place IS NOT NULL
    LIMIT $2
) AS waiting
