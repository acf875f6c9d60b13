-- How a day stands: its last job, whether its end is written and says success, and if not, the tables that are to be exported:
-- those whose latest revision is not published, and of a day that was never planned as a whole those that it has never had.
-- What is not scheduled any more is not among them.
SELECT day.job_id, day.closed_at IS NOT NULL AS closed, coalesce(day.succeeded, false) AS succeeded,
       ARRAY(SELECT offered.table_name
             FROM export_tables AS offered
             LEFT JOIN LATERAL (
                 SELECT status.status FROM table_export_job_statuses AS status
                 WHERE status.kind = 'scheduled' AND status.export_date = $1 AND status.table_name = offered.table_name
                 ORDER BY status.revision DESC
                 LIMIT 1
             ) AS latest ON true
             WHERE offered.enabled AND offered.scheduled
               AND coalesce(latest.status <> 'COMPLETED', NOT EXISTS (
                       SELECT 1 FROM export_days AS earlier
                       JOIN export_jobs AS asked ON asked.id = earlier.job_id
                       WHERE earlier.export_date = $1 AND asked.tables IS NULL AND asked.rules_revision IS NOT NULL))
             ORDER BY offered.table_name) AS lacking
FROM export_days AS day
WHERE day.export_date = $1
ORDER BY day.revision DESC
LIMIT 1
