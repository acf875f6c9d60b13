-- A closed day whose folder is to be compared with what is known of it. Locked until it has been, with the first revision of
-- its date, which whoever writes into its folder holds.
SELECT day.job_id, day.schedule, day.export_date, day.revision, day.time_zone, day.window_start, day.window_end,
       job.rules_revision, job.error_code, job.error_message
FROM export_days AS day
JOIN export_jobs AS job ON job.id = day.job_id
JOIN export_days AS first ON first.export_date = day.export_date AND first.revision = 1
WHERE day.check_due_at <= clock_timestamp() AND day.closed_at IS NOT NULL
  -- what is about to be closed is written anyway
  AND NOT EXISTS (SELECT 1 FROM export_days AS later
                  JOIN export_jobs AS ended ON ended.id = later.job_id AND ended.completed_at IS NOT NULL
                  WHERE later.export_date = day.export_date AND later.revision > day.revision
                    AND later.closed_at IS NULL)
ORDER BY day.check_due_at
LIMIT 1
FOR UPDATE OF day, first SKIP LOCKED
