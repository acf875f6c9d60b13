-- A day whose job has ended and that is not closed, earlier revisions first. Locked until it is. $1 only this job (or NULL)
SELECT day.job_id, day.schedule, day.export_date, day.revision, day.time_zone, day.window_start, day.window_end,
       job.rules_revision, job.error_code, job.error_message
FROM export_days AS day
JOIN export_jobs AS job ON job.id = day.job_id
WHERE day.closed_at IS NULL AND job.completed_at IS NOT NULL AND ($1::uuid IS NULL OR job.id = $1)
  AND NOT EXISTS (SELECT 1 FROM export_days AS earlier
                  WHERE earlier.export_date = day.export_date AND earlier.revision < day.revision
                    AND earlier.closed_at IS NULL)
ORDER BY job.completed_at
LIMIT 1
FOR UPDATE OF day SKIP LOCKED
