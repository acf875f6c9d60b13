-- Counts the further pieces of a partition among those of its table, whose job must not be ending. $3 pieces
UPDATE export_job_tables AS tables
SET partitions_total = partitions_total + $3
WHERE tables.job_id = $1 AND tables.table_name = $2 AND tables.state = 'EXTRACTING'
  AND EXISTS (SELECT 1 FROM export_jobs AS job WHERE job.id = tables.job_id AND job.state = 'RUNNING')
RETURNING tables.job_id
