-- The job that a tenant has submitted or joined with an idempotency key, and the hash of what it asked for.
SELECT id, body_hash FROM export_jobs WHERE tenant = $1 AND idempotency_key = $2
UNION ALL
SELECT job_id, body_hash FROM export_joined_keys WHERE tenant = $1 AND idempotency_key = $2
UNION ALL
SELECT job_id, body_hash FROM export_archived_keys WHERE tenant = $1 AND idempotency_key = $2
LIMIT 1
