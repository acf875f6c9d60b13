-- Takes back partitions whose lease has run out. They keep their due time and their place; the lost worker counts
-- as a crash and not as an attempt. $1 crashes after which a partition is poison
WITH late AS MATERIALIZED (
    SELECT id FROM export_job_partitions
    WHERE state = 'RUNNING' AND lease_until < clock_timestamp()
    ORDER BY lease_until
    LIMIT 100
    FOR UPDATE SKIP LOCKED
)
UPDATE export_job_partitions AS partition
SET state = 'PENDING',
    worker = NULL,
    lease_until = NULL,
    connection = NULL,
    lease_epoch = lease_epoch + 1,
    attempts = attempts - 1,
    crashes = crashes + 1,
    reaped_at = clock_timestamp()
FROM late
WHERE partition.id = late.id
RETURNING partition.id, partition.job_id, partition.table_name, partition.crashes >= $1 AS poison
