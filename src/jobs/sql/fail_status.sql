-- Says that a table has failed, also when no partition of it was ever claimed. $3 code, $4 message
INSERT INTO table_export_job_statuses AS status
    (job_id, kind, tenant, table_name, window_start, window_end, status, attempts, error_code, error_message,
     completed_at, policy_hash, schedule, export_date, revision)
SELECT job.id, job.kind, job.tenant, $2, job.window_start, job.window_end, 'FAILED', 0, $3, $4, clock_timestamp(),
       (SELECT plan -> 'policy' ->> 'hash' FROM export_job_tables WHERE job_id = $1 AND table_name = $2),
       day.schedule, day.export_date, coalesce(day.revision, 1)
FROM export_jobs AS job
LEFT JOIN export_days AS day ON day.job_id = job.id
WHERE job.id = $1
ON CONFLICT (job_id, table_name) DO UPDATE
SET status = 'FAILED', error_code = $3, error_message = $4, completed_at = clock_timestamp()
WHERE status.status = 'IN-PROGRESS'
