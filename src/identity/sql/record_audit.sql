-- One thing that an administrator did.
INSERT INTO admin_audit (actor, tenant, origin, action, target, before, after, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
