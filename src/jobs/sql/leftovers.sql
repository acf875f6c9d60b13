-- Attempts that nobody will use any more: of tables that have ended, and those that were overtaken by a later epoch.
SELECT staged.staging_key, staged.upload_id
FROM export_staged_objects AS staged
JOIN export_job_partitions AS partition ON partition.id = staged.partition_id
JOIN export_job_tables AS tables ON tables.job_id = partition.job_id AND tables.table_name = partition.table_name
WHERE staged.removed_at IS NULL
  AND NOT (partition.state = 'RUNNING' AND partition.lease_epoch = staged.lease_epoch)
  AND (tables.state IN ('COMPLETED', 'FAILED') OR partition.staging_key IS DISTINCT FROM staged.staging_key)
-- Uploads that are open go first: of a cancelled job they are to be gone within seconds.
ORDER BY partition.state = 'COMPLETED', staged.created_at
LIMIT $1
FOR UPDATE OF staged SKIP LOCKED
