-- Every table of the days of a range as its latest revision has it, and the last revision of it that was published.
-- $1 first date, $2 last date
SELECT DISTINCT ON (export_date, table_name)
       export_date, table_name, job_id, revision, status, row_count, byte_count, manifest_url, unchanged_since,
       error_code, error_message,
       max(revision) FILTER (WHERE status = 'COMPLETED') OVER (PARTITION BY export_date, table_name)
           AS published_revision
FROM table_export_job_statuses
WHERE kind = 'scheduled' AND export_date BETWEEN $1 AND $2
ORDER BY export_date, table_name, revision DESC
