-- Records an attempt's object before anything is written to it, while the lease is held.
INSERT INTO export_staged_objects (staging_key, job_id, partition_id, lease_epoch)
SELECT $1, job_id, id, lease_epoch FROM export_job_partitions
WHERE id = $2 AND lease_epoch = $3 AND state = 'RUNNING'
RETURNING staging_key
