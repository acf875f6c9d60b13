-- A further piece of a partition that was cut: like the first one but for its place and its scan. $2 place behind it,
-- $3 scan
INSERT INTO export_job_partitions
    (job_id, table_name, ordinal, scan, weight, fair_key, due_at, attempts, crashes, conflicts, rows_seen, scheduled, error_code,
     error_message)
SELECT job_id, table_name, ordinal + $2, $3, weight, fair_key, due_at, attempts, crashes, conflicts, rows_seen, scheduled, error_code,
       error_message
FROM export_job_partitions
WHERE id = $1
