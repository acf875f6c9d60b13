-- Says that a table is published. $3 rows, $4 bytes, $5 the manifest's address
UPDATE table_export_job_statuses
SET status = 'COMPLETED', row_count = $3, byte_count = $4, manifest_url = $5, completed_at = clock_timestamp(),
    unchanged_since = (SELECT origin.export_date FROM export_job_tables AS published
                       JOIN export_days AS origin ON origin.job_id = published.origin_job
                       WHERE published.job_id = $1 AND published.table_name = $2)
WHERE job_id = $1 AND table_name = $2 AND status = 'IN-PROGRESS'
