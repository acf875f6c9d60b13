-- A request of a tenant that an identical one may join: it waits, or is worked on under the rules of now and moves.
-- $1 tenant, $2 hash of the body, $3 seconds after which what does not move is stalled
SELECT job.id
FROM export_jobs AS job
WHERE job.tenant = $1 AND job.body_hash = $2 AND job.kind = 'on_demand'
  AND job.state IN ('QUEUED', 'PLANNING', 'RUNNING', 'FINALIZING')
  AND (job.state = 'QUEUED'
       OR (coalesce(job.rules_revision, job.submitted_revision) = (SELECT revision FROM rules_revision)
           AND export_last_progress(job) > clock_timestamp() - make_interval(secs => $3)))
ORDER BY job.queued_at, job.id
LIMIT 1
