-- Where the content of a table was published already: the export whose files the last day before this one has, if that was of
-- the same content and went well, and is not so old that its files may be gone. What was decided of this table is told again.
-- $1 job, $2 table, $3 content, $4 days
SELECT origin.job_id, day.export_date, day.revision, origin.files
FROM export_job_tables AS own
JOIN export_days AS today ON today.job_id = own.job_id
LEFT JOIN LATERAL (
    SELECT status.status, earlier.content_identity, coalesce(earlier.origin_job, earlier.job_id) AS origin_job
    FROM table_export_job_statuses AS status
    JOIN export_job_tables AS earlier USING (job_id, table_name)
    WHERE status.kind = 'scheduled' AND status.table_name = own.table_name
      AND status.export_date < today.export_date AND status.export_date >= today.export_date - $4::int
    ORDER BY status.export_date DESC, status.revision DESC
    LIMIT 1
) AS last ON true
JOIN export_job_tables AS origin ON origin.table_name = own.table_name
    AND origin.job_id = CASE WHEN own.content_identity IS NOT NULL THEN own.origin_job
                             WHEN last.status = 'COMPLETED' AND last.content_identity = $3 THEN last.origin_job END
JOIN export_days AS day ON day.job_id = origin.job_id
WHERE own.job_id = $1 AND own.table_name = $2 AND origin.state = 'COMPLETED'
  AND day.export_date >= today.export_date - $4::int
