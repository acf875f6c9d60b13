-- Moves a job on after one of its tables has moved. Its row is locked before this is read, so of two tables that end
-- at once the later one sees the earlier.
UPDATE export_jobs AS job
SET state = CASE WHEN tables.open > tables.extracted THEN job.state
                 WHEN tables.open > 0 THEN 'FINALIZING'
                 WHEN tables.failed > 0 THEN 'FAILED'
                 ELSE 'COMPLETED' END,
    slot = CASE WHEN tables.open > 0 THEN job.slot END,
    completed_at = CASE WHEN tables.open = 0 THEN clock_timestamp() END,
    error_code = CASE WHEN tables.open = 0 THEN tables.code END,
    error_message = CASE WHEN tables.open = 0 AND tables.failed > 0
        THEN format('%s of %s tables failed; %s: %s', tables.failed, tables.failed + tables.completed, tables.first, tables.message) END
FROM (
    SELECT count(*) FILTER (WHERE state IN ('EXTRACTING', 'READY', 'FINALIZING')) AS open,
           count(*) FILTER (WHERE state IN ('READY', 'FINALIZING')) AS extracted,
           count(*) FILTER (WHERE state = 'FAILED') AS failed,
           count(*) FILTER (WHERE state = 'COMPLETED') AS completed,
           min(table_name) FILTER (WHERE state = 'FAILED') AS first,
           (array_agg(error_code ORDER BY table_name) FILTER (WHERE state = 'FAILED'))[1] AS code,
           (array_agg(error_message ORDER BY table_name) FILTER (WHERE state = 'FAILED'))[1] AS message
    FROM export_job_tables
    WHERE job_id = $1
) AS tables
WHERE job.id = $1 AND job.state IN ('RUNNING', 'FINALIZING')
RETURNING job.state
