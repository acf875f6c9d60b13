-- Locks some requests that ended long ago: of those on demand, the ones that have nothing left in the bucket and no link
-- that could still work. OFFSET 0 keeps each question to the rows of one job: a join would read whole tables.
-- $1 seconds since their end
SELECT job.id
FROM export_jobs AS job
WHERE job.kind = 'on_demand' AND job.state IN ('FAILED', 'CANCELLED', 'EXPIRED') AND job.purged_at IS NOT NULL
  AND job.completed_at <= clock_timestamp() - make_interval(secs => $1)
  AND NOT EXISTS (SELECT 1 FROM export_staged_objects AS staged
                  WHERE staged.job_id = job.id AND staged.removed_at IS NULL OFFSET 0)
  AND NOT EXISTS (SELECT 1 FROM export_job_tables AS t
                  WHERE t.job_id = job.id
                    AND (t.state NOT IN ('COMPLETED', 'FAILED', 'SKIPPED')
                         OR t.state = 'COMPLETED' AND t.purged_at IS NULL
                         OR t.state = 'FAILED' AND t.publication IS NOT NULL) OFFSET 0)
  AND NOT EXISTS (SELECT 1 FROM export_link_grants AS g
                  WHERE g.job_id = job.id AND g.revoked_at IS NULL AND g.expires_at > clock_timestamp() OFFSET 0)
ORDER BY job.completed_at
LIMIT 200
FOR UPDATE SKIP LOCKED
