-- Takes back finalizing leases that have run out: publishing is repeated, with the same bytes.
UPDATE export_job_tables
SET state = 'READY', worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1, attempts = attempts - 1,
    crashes = crashes + 1, reaped_at = clock_timestamp()
WHERE (job_id, table_name) IN (SELECT job_id, table_name FROM export_job_tables
                               WHERE state = 'FINALIZING' AND lease_until < clock_timestamp()
                               LIMIT 100 FOR UPDATE SKIP LOCKED)
RETURNING job_id, table_name, crashes >= $1 AS poison
