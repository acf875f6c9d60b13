-- Inserts a request. No row comes back when the tenant has used this idempotency key before.
INSERT INTO export_jobs
    (id, kind, tenant, requested_by, window_start, window_end, tables, format, compression, idempotency_key, body_hash)
VALUES ($1, 'on_demand', $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING id
