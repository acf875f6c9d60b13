-- A day whose job has ended and that is not closed, earlier revisions first; its folders first show what they can show by now.
-- Locked until it is, with the first revision of its date, which whoever writes into its folder holds. $1 only this job (or NULL)
SELECT day.job_id, day.schedule, day.export_date, day.revision, day.time_zone, day.window_start, day.window_end,
       job.rules_revision, job.error_code, job.error_message
FROM export_days AS day
JOIN export_jobs AS job ON job.id = day.job_id
JOIN export_days AS first ON first.export_date = day.export_date AND first.revision = 1
WHERE day.closed_at IS NULL AND job.completed_at IS NOT NULL AND ($1::uuid IS NULL OR job.id = $1)
  AND NOT EXISTS (SELECT 1 FROM export_days AS earlier
                  WHERE earlier.export_date = day.export_date AND earlier.revision < day.revision
                    AND earlier.closed_at IS NULL)
  AND NOT EXISTS (SELECT 1 FROM export_day_swaps AS swap
                  WHERE swap.job_id = job.id AND swap.done_at IS NULL AND swap.due_at <= clock_timestamp())
ORDER BY job.completed_at
LIMIT 1
FOR UPDATE OF day, first SKIP LOCKED
