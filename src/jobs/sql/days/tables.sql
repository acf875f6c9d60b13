-- The tables of a day as their latest revision, up to $2, has left them, and what was published of each before that. One that
-- failed, and that the schedule did not export any more when the day was planned again, is none of its tables; of a day that
-- was never planned nobody knows, so each is.
SELECT latest.*, before.revision AS before_revision, before.row_count AS before_rows, before.byte_count AS before_bytes
FROM (
    SELECT DISTINCT ON (status.table_name)
           status.table_name, status.revision, status.status, status.attempts, status.row_count, status.byte_count,
           status.manifest_url, status.policy_hash, status.unchanged_since, status.error_code, status.error_message
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
LEFT JOIN LATERAL (
    SELECT day.revision, job.rules_revision
    FROM export_days AS day
    JOIN export_jobs AS job ON job.id = day.job_id AND job.rules_revision IS NOT NULL
    WHERE day.export_date = $1 AND day.revision <= $2
    ORDER BY day.revision DESC
    LIMIT 1
) AS planned ON true
WHERE latest.status = 'COMPLETED' OR planned.revision IS NULL OR latest.revision >= planned.revision
   OR EXISTS (SELECT 1 FROM rules_snapshots AS kept,
                  jsonb_populate_recordset(NULL::export_tables, kept.rules -> 'export_tables') AS listed
              WHERE kept.revision = planned.rules_revision AND listed.table_name = latest.table_name
                AND listed.enabled AND listed.scheduled)
ORDER BY latest.table_name
