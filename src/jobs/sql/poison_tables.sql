-- Tables whose publication has taken so many workers with it. $1 so many
SELECT job_id, table_name FROM export_job_tables
WHERE state = 'READY' AND crashes >= $1
LIMIT 100
