-- The job that exported a date last, its revision, and whether it has ended.
SELECT day.job_id, day.revision, job.completed_at IS NOT NULL AS ended
FROM export_days AS day
JOIN export_jobs AS job ON job.id = day.job_id
WHERE day.export_date = $1
ORDER BY day.revision DESC
LIMIT 1
