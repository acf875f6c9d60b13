-- Notes that nothing of an expired job is left in the bucket, if that is so.
UPDATE export_jobs SET purged_at = clock_timestamp(), purge_until = NULL
WHERE id = $1 AND state = 'EXPIRED'
  AND NOT EXISTS (SELECT 1 FROM export_job_tables AS t
                  WHERE t.job_id = $1 AND t.state = 'COMPLETED' AND t.purged_at IS NULL)
