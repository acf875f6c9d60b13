-- The day of a job, if it is one of the schedule.
SELECT schedule, export_date, revision FROM export_days WHERE job_id = $1
