-- Whether a table will never be published.
SELECT state = 'FAILED' AND sealed_at IS NULL FROM export_job_tables WHERE job_id = $1 AND table_name = $2
