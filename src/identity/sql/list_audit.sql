-- A tenant's audit, newest first, after the entry that a cursor names.
SELECT id, at, actor, origin, action, target, before, after, request_id
FROM admin_audit
WHERE tenant = $1 AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3
