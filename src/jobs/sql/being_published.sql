-- Whether a manifest of a job may be written in this moment.
SELECT EXISTS (SELECT 1 FROM export_job_tables
               WHERE job_id = $1 AND sealed_at IS NOT NULL AND state IN ('READY', 'FINALIZING'))
