-- The tables of some jobs with what their partitions have done. `weight` is what planning expected and never
-- changes, and rows_seen never falls, so neither does the progress made of them.
SELECT t.job_id, t.table_name, t.state, t.files, t.error_code, t.error_message,
       coalesce(p.weight, 0) AS weight, coalesce(p.done_weight, 0) AS done_weight,
       coalesce(p.rows, 0)::bigint AS rows, coalesce(p.bytes, 0)::bigint AS bytes
FROM export_job_tables AS t
LEFT JOIN LATERAL (
    SELECT sum(weight) AS weight,
           sum(CASE WHEN state = 'COMPLETED' THEN weight ELSE least(rows_seen, weight * 0.99) END) AS done_weight,
           sum(coalesce(row_count, rows_seen)) AS rows,
           sum(byte_count) AS bytes
    FROM export_job_partitions AS p
    WHERE p.job_id = t.job_id AND p.table_name = t.table_name
) AS p ON true
WHERE t.job_id = ANY ($1)
ORDER BY t.job_id, t.table_name
