-- How a day stands: its last job, whether that has ended, and of every table of the day whose latest revision is not
-- published the name; those that are not scheduled any more are not missed.
SELECT day.job_id, job.completed_at IS NOT NULL AS ended,
       job.state IN ('FAILED', 'CANCELLED') AND NOT EXISTS (SELECT 1 FROM export_job_tables AS t WHERE t.job_id = job.id)
           AS unplanned,
       ARRAY(SELECT latest.table_name
             FROM (SELECT DISTINCT ON (status.table_name) status.table_name, status.status
                   FROM table_export_job_statuses AS status
                   WHERE status.kind = 'scheduled' AND status.export_date = $1
                   ORDER BY status.table_name, status.revision DESC) AS latest
             JOIN export_tables AS offered ON offered.table_name = latest.table_name
             WHERE latest.status <> 'COMPLETED' AND offered.enabled AND offered.scheduled
             ORDER BY latest.table_name) AS failed
FROM export_days AS day
JOIN export_jobs AS job ON job.id = day.job_id
WHERE day.export_date = $1
ORDER BY day.revision DESC
LIMIT 1
