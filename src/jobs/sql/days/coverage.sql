-- A calendar: every date of a range that the time zone has, and the last time that it was exported, if it ever was.
-- $1 first date, $2 last date, $3 time zone
SELECT calendar.date,
       coalesce(latest.window_end, (calendar.date + 1)::timestamp AT TIME ZONE $3) <= clock_timestamp() AS over,
       latest.job_id, latest.revision, latest.closed_at IS NOT NULL AS closed, latest.succeeded,
       job.error_code, job.error_message,
       EXISTS (SELECT 1 FROM export_schedule_fires AS fire
               WHERE fire.export_date = calendar.date AND fire.outcome = 'MISSED') AS missed
FROM (SELECT day::date AS date
      FROM generate_series($1::date::timestamp, $2::date::timestamp, interval '1 day') AS day) AS calendar
LEFT JOIN LATERAL (
    SELECT job_id, revision, window_end, closed_at, succeeded FROM export_days
    WHERE export_date = calendar.date
    ORDER BY revision DESC
    LIMIT 1
) AS latest ON true
LEFT JOIN export_jobs AS job ON job.id = latest.job_id
-- A date that the zone has skipped has no instant.
WHERE calendar.date::timestamp AT TIME ZONE $3 < (calendar.date + 1)::timestamp AT TIME ZONE $3
ORDER BY calendar.date
