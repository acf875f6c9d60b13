-- Takes an expired job whose files are still there, for a while. Links that were handed out keep what they promise:
-- presigned ones, and those that a link of our own was followed to, are waited for. $1 seconds to do it in
UPDATE export_jobs
SET purge_until = clock_timestamp() + make_interval(secs => $1)
WHERE id = (
    SELECT job.id
    FROM export_jobs AS job
    WHERE job.state = 'EXPIRED' AND job.purged_at IS NULL
      AND (job.purge_until IS NULL OR job.purge_until <= clock_timestamp())
      AND NOT EXISTS (SELECT 1 FROM export_link_grants AS g
                      WHERE g.job_id = job.id AND g.kind = 'presigned' AND g.expires_at > clock_timestamp())
      AND NOT EXISTS (SELECT 1 FROM export_download_audits AS a
                      WHERE a.job_id = job.id AND a.action = 'redirected'
                        AND a.at > clock_timestamp() - interval '5 minutes')
    ORDER BY job.completed_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED)
RETURNING id
