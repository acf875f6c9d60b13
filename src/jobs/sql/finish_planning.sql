-- The fenced commit of a plan. $3 the revision of the rules that it was made under
UPDATE export_jobs
SET state = 'RUNNING', worker = NULL, lease_until = NULL, rules_revision = $3, error_code = NULL, error_message = NULL,
    progress_at = clock_timestamp()
WHERE id = $1 AND lease_epoch = $2 AND state = 'PLANNING' AND lease_until IS NOT NULL
RETURNING tenant
