-- The tables of a day as their latest revision, up to $2, has left them, and what was published of each before that. One that
-- failed, and that the day did not have when it was exported again as a whole, is none of its tables any more.
SELECT latest.*, before.revision AS before_revision, before.row_count AS before_rows, before.byte_count AS before_bytes
FROM (
    SELECT DISTINCT ON (status.table_name)
           status.table_name, status.revision, status.status, status.attempts, status.row_count, status.byte_count,
           status.manifest_url, status.policy_hash, status.error_code, status.error_message
    FROM table_export_job_statuses AS status
    WHERE status.kind = 'scheduled' AND status.export_date = $1 AND status.revision <= $2
    ORDER BY status.table_name, status.revision DESC
) AS latest
LEFT JOIN LATERAL (
    SELECT earlier.revision, earlier.row_count, earlier.byte_count
    FROM table_export_job_statuses AS earlier
    WHERE earlier.kind = 'scheduled' AND earlier.export_date = $1 AND earlier.table_name = latest.table_name
      AND earlier.status = 'COMPLETED' AND earlier.revision < latest.revision
    ORDER BY earlier.revision DESC
    LIMIT 1
) AS before ON true
WHERE latest.status = 'COMPLETED'
   OR NOT EXISTS (SELECT 1 FROM export_days AS day
                  JOIN export_jobs AS asked ON asked.id = day.job_id
                  WHERE day.export_date = $1 AND day.revision <= $2 AND day.revision > latest.revision
                    AND asked.tables IS NULL AND asked.rules_revision IS NOT NULL)
ORDER BY latest.table_name
