-- One key, held until the transaction ends.
SELECT id, prefix, tenant, role, name, created_at, expires_at, last_used_at, revoked_at,
       CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'active' END AS state
FROM api_keys
WHERE id = $1
FOR UPDATE
