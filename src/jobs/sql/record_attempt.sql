-- Records an attempt's object before anything is written to it, while the lease is held. Once more where the answer to the
-- first time was lost.
INSERT INTO export_staged_objects AS staged (staging_key, job_id, partition_id, lease_epoch)
SELECT $1, job_id, id, lease_epoch FROM export_job_partitions
WHERE id = $2 AND lease_epoch = $3 AND state = 'RUNNING'
ON CONFLICT (staging_key) DO UPDATE SET lease_epoch = excluded.lease_epoch WHERE staged.removed_at IS NULL
RETURNING staging_key
