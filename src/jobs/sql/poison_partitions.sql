-- Partitions that have taken so many workers with them that nobody is given them any more. Whoever counted the last may have
-- died before it could end them. $1 so many
SELECT id, job_id, table_name FROM export_job_partitions
WHERE state = 'PENDING' AND crashes > 0 AND crashes >= $1
LIMIT 100
