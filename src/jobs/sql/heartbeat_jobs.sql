-- Renews planning leases. $1 ids, $2 epochs, $3 lease in seconds
UPDATE export_jobs AS job
SET lease_until = clock_timestamp() + make_interval(secs => $3), heartbeat_at = clock_timestamp()
FROM unnest($1::uuid[], $2::bigint[]) AS beat (id, epoch)
WHERE job.id = beat.id AND job.lease_epoch = beat.epoch AND job.state = 'PLANNING' AND job.lease_until IS NOT NULL
RETURNING job.id, job.lease_epoch
