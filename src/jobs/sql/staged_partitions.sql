-- What a table's partitions have staged, in the order of its files.
SELECT ordinal, scan, staging_key, row_count, byte_count, sha256, etag, snapshot_id, report
FROM export_job_partitions
WHERE job_id = $1 AND table_name = $2 AND state = 'COMPLETED'
ORDER BY ordinal
