-- The tables of a day as their latest revision, up to $2, has left them, and what was published of each before that.
SELECT DISTINCT ON (status.table_name)
       status.table_name, status.revision, status.status, status.attempts, status.row_count, status.byte_count,
       status.manifest_url, status.policy_hash, status.error_code, status.error_message,
       before.revision AS before_revision, before.row_count AS before_rows, before.byte_count AS before_bytes
FROM table_export_job_statuses AS status
LEFT JOIN LATERAL (
    SELECT earlier.revision, earlier.row_count, earlier.byte_count
    FROM table_export_job_statuses AS earlier
    WHERE earlier.kind = 'scheduled' AND earlier.export_date = $1 AND earlier.table_name = status.table_name
      AND earlier.status = 'COMPLETED' AND earlier.revision < status.revision
    ORDER BY earlier.revision DESC
    LIMIT 1
) AS before ON true
WHERE status.kind = 'scheduled' AND status.export_date = $1 AND status.revision <= $2
ORDER BY status.table_name, status.revision DESC
