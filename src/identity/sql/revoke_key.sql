-- Ends a key.
UPDATE api_keys
SET revoked_at = clock_timestamp()
WHERE id = $1
RETURNING id, prefix, tenant, role, name, created_at, expires_at, last_used_at, revoked_at,
       CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'active' END AS state
