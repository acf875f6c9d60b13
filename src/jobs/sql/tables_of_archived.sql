-- The tables of an archived request, as tables_of_jobs had them.
SELECT job.id AS job_id, t.table_name, t.state, t.files, t.error_code, t.error_message, t.weight, t.done_weight, t.rows,
       t.bytes
FROM export_archived_jobs AS job
CROSS JOIN LATERAL jsonb_to_recordset(job.tables) AS t
    (table_name text, state text, files jsonb, error_code text, error_message text, weight float8, done_weight float8,
     rows bigint, bytes bigint)
WHERE job.id = $1
ORDER BY t.table_name
