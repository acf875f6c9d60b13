-- The tables that a job left out, and why.
SELECT table_name, error_code, error_message FROM export_job_tables
WHERE job_id = $1 AND state = 'SKIPPED'
ORDER BY table_name
