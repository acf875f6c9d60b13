-- Inserts a request, in a place of its tenant's that nobody has. No row comes back when no place is free, when somebody
-- took the same one in the same moment, or when the tenant has used this idempotency key before.
-- $7 format (or NULL), $8 compression (or NULL), $11 places of a tenant
INSERT INTO export_jobs
    (id, kind, tenant, requested_by, window_start, window_end, tables, format, compression, idempotency_key, body_hash,
     place, submitted_revision)
SELECT $1, 'on_demand', $2, $3, $4, $5, $6, $7, $8, $9, $10, free.place, (SELECT revision FROM rules_revision)
FROM (
    SELECT one.place FROM generate_series(0, $11::int - 1) AS one (place)
    WHERE NOT EXISTS (SELECT 1 FROM export_jobs AS waiting
                      WHERE waiting.tenant = $2 AND waiting.kind = 'on_demand' AND waiting.state = 'QUEUED'
                        AND waiting.place = one.place)
    ORDER BY random()
    LIMIT 1
) AS free
ON CONFLICT DO NOTHING
RETURNING id
