-- A new key, with the end of its life counted in days by this database's clock.
INSERT INTO api_keys (id, prefix, sha256, tenant, role, name, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(days => $7::integer))
RETURNING id, prefix, tenant, role, name, created_at, expires_at, last_used_at, revoked_at,
       CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'active' END AS state
