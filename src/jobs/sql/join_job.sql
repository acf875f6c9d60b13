-- Notes the key of a request that joined another.
INSERT INTO export_joined_keys (tenant, idempotency_key, body_hash, job_id) VALUES ($1, $2, $3, $4)
