-- Renews the leases that still have these epochs. A lease that is not in the answer is lost.
-- $1 ids, $2 epochs, $3 rows read so far, $4 lease in seconds
UPDATE export_job_partitions AS partition
SET lease_until = clock_timestamp() + make_interval(secs => $4),
    rows_seen = greatest(partition.rows_seen, beat.rows)
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS beat (id, epoch, rows)
WHERE partition.id = beat.id AND partition.lease_epoch = beat.epoch AND partition.state = 'RUNNING'
RETURNING partition.id
