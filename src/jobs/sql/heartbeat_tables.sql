-- Renews finalizing leases. $1 jobs, $2 tables, $3 epochs, $4 lease in seconds
UPDATE export_job_tables AS tables
SET lease_until = clock_timestamp() + make_interval(secs => $4)
FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS beat (job_id, table_name, epoch)
WHERE tables.job_id = beat.job_id AND tables.table_name = beat.table_name AND tables.lease_epoch = beat.epoch
  AND tables.state = 'FINALIZING'
RETURNING tables.job_id, tables.table_name
