-- Ends the tables of a job of which nothing runs any more, for the job's own reason. A sealed one goes on to its end.
-- $2 whether a finalizer is not waited for
UPDATE export_job_tables AS tables
SET state = 'FAILED', worker = NULL, lease_until = NULL, lease_epoch = tables.lease_epoch + 1,
    error_code = job.error_code, error_message = job.error_message
FROM export_jobs AS job
WHERE job.id = $1 AND tables.job_id = job.id AND tables.sealed_at IS NULL
  AND (tables.state IN ('EXTRACTING', 'READY') OR ($2 AND tables.state = 'FINALIZING'))
  AND NOT EXISTS (SELECT 1 FROM export_job_partitions AS partition
                  WHERE partition.job_id = tables.job_id AND partition.table_name = tables.table_name
                    AND partition.state IN ('PENDING', 'RUNNING'))
RETURNING tables.table_name, tables.error_code, tables.error_message
