-- Days that could have begun $1 seconds ago and that nobody has begun, and fires that were missed, which nothing will begin
-- unless somebody has run the day since. Of what was decided in the last two weeks, which is less than what was told is
-- remembered for. $2 what counts as now (or NULL for the clock)
SELECT fire.schedule, fire.export_date, fire.fire_at, greatest(fire.fire_at, job.due_at) AS since, fire.job_id
FROM export_schedule_fires AS fire
CROSS JOIN (SELECT coalesce($2::timestamptz, clock_timestamp()) AS at) AS now
LEFT JOIN export_jobs AS job ON job.id = fire.job_id
WHERE fire.decided_at > clock_timestamp() - interval '14 days'
  AND greatest(fire.fire_at, job.due_at) + make_interval(secs => $1) <= now.at
  AND CASE fire.outcome
          WHEN 'STARTED' THEN job.state = 'QUEUED'
          WHEN 'MISSED' THEN NOT EXISTS (SELECT 1 FROM export_days AS day WHERE day.export_date = fire.export_date)
          ELSE false
      END
ORDER BY fire.fire_at
