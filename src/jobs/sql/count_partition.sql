-- Counts a committed partition; the last one makes its table ready to be published.
UPDATE export_job_tables
SET partitions_done = partitions_done + 1,
    state = CASE WHEN partitions_done + 1 = partitions_total THEN 'READY' ELSE state END,
    due_at = clock_timestamp()
WHERE job_id = $1 AND table_name = $2 AND state = 'EXTRACTING'
RETURNING state
