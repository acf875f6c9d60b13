-- What is recorded of an expired job and not deleted yet: tables with their manifest and files.
SELECT t.table_name, s.manifest_url, t.files
FROM export_job_tables AS t
LEFT JOIN table_export_job_statuses AS s ON s.job_id = t.job_id AND s.table_name = t.table_name
WHERE t.job_id = $1 AND t.state = 'COMPLETED' AND t.purged_at IS NULL
ORDER BY t.table_name
