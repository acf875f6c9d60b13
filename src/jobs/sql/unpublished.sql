-- Tables that will not be published although files of theirs have their final names. First their staged files go, so
-- that a finalizer which does not know yet cannot copy them once more.
SELECT tables.job_id, tables.table_name, tables.publication
FROM export_job_tables AS tables
WHERE tables.state = 'FAILED' AND tables.publication IS NOT NULL AND tables.sealed_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM export_staged_objects AS staged
                  JOIN export_job_partitions AS partition ON partition.id = staged.partition_id
                  WHERE staged.job_id = tables.job_id AND partition.table_name = tables.table_name
                    AND staged.removed_at IS NULL)
LIMIT $1
FOR UPDATE OF tables SKIP LOCKED
