-- Takes back planning leases that have run out.
UPDATE export_jobs
SET worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1, attempts = attempts - 1, crashes = crashes + 1,
    reaped_at = clock_timestamp()
WHERE id IN (SELECT id FROM export_jobs
             WHERE state = 'PLANNING' AND lease_until < clock_timestamp() LIMIT 100 FOR UPDATE SKIP LOCKED)
RETURNING id, crashes >= $1 AS poison
