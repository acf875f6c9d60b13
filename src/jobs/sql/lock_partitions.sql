-- Locks every partition of a table, by id: so does everybody who locks several partitions and waits for them.
SELECT id FROM export_job_partitions WHERE job_id = $1 AND table_name = $2 ORDER BY id FOR UPDATE
