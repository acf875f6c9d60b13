-- What proves a key, and for how many seconds it still works: NULL for no end, 0 for one that has ended.
SELECT id, sha256, tenant, role, name,
       CASE WHEN revoked_at IS NOT NULL THEN 0
            WHEN expires_at IS NULL THEN NULL
            ELSE greatest(0, extract(epoch FROM expires_at - clock_timestamp()))
       END::double precision AS valid_for
FROM api_keys
WHERE prefix = $1
