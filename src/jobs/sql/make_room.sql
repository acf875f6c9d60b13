-- Moves the partitions behind one up by so many places, so that files stay in the order of their slices.
-- $1 partition, $2 places
UPDATE export_job_partitions AS behind
SET ordinal = behind.ordinal + $2
FROM export_job_partitions AS one
WHERE one.id = $1 AND behind.job_id = one.job_id AND behind.table_name = one.table_name AND behind.ordinal > one.ordinal
