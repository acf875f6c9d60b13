-- A restated table whose visible files may be replaced by now. Locked until they are. Of several revisions only the last
-- one counts. $1 only this job (or NULL)
SELECT swap.job_id, swap.table_name, swap.folder, tables.files,
       EXISTS (SELECT 1 FROM export_day_swaps AS later
               WHERE later.export_date = swap.export_date AND later.table_name = swap.table_name
                 AND later.revision > swap.revision) AS outdated,
       (SELECT coalesce(jsonb_agg(file ->> 'key'), '[]')
        FROM table_export_job_statuses AS status
        JOIN export_job_tables AS earlier ON earlier.job_id = status.job_id AND earlier.table_name = status.table_name,
             jsonb_array_elements(earlier.files) AS file
        WHERE status.kind = 'scheduled' AND status.export_date = swap.export_date
          AND status.table_name = swap.table_name AND status.revision < swap.revision) AS earlier
FROM export_day_swaps AS swap
JOIN export_job_tables AS tables ON tables.job_id = swap.job_id AND tables.table_name = swap.table_name
WHERE swap.done_at IS NULL AND swap.due_at <= clock_timestamp() AND ($1::uuid IS NULL OR swap.job_id = $1)
ORDER BY swap.due_at
LIMIT 1
FOR UPDATE OF swap SKIP LOCKED
