-- Whether the summary of a job's day is written.
SELECT closed_at IS NOT NULL FROM export_days WHERE job_id = $1
