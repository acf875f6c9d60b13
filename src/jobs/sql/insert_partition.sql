-- One planned partition. $3 ordinal, $4 scan, $5 weight, made whole so that sums of weights and of their halves are
-- exact in any order, $6 place in the fair order
INSERT INTO export_job_partitions (job_id, table_name, ordinal, scan, weight, fair_key, scheduled)
SELECT $1, $2, $3, $4, greatest(1, round($5)), $6, job.kind = 'scheduled' FROM export_jobs AS job WHERE job.id = $1
