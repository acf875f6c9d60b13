-- Waits until nobody commits anything about a job's tables, and keeps it so until the end of the transaction. Workers
-- lock a table before its job; so must everybody. $2 only if it is this tenant's (or NULL)
SELECT count(*) FROM (
    SELECT 1 FROM export_job_tables AS tables
    WHERE tables.job_id = $1
      AND EXISTS (SELECT 1 FROM export_jobs AS job WHERE job.id = $1 AND ($2::text IS NULL OR job.tenant = $2))
    ORDER BY tables.table_name
    FOR UPDATE OF tables
) AS locked
