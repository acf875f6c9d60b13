-- Begins to cancel a job, unless it has ended or is ending. What nobody works on yet is cancelled with this; so is what
-- is being planned, whose lease is taken. $3 says by whom
UPDATE export_jobs
SET state = CASE WHEN state IN ('QUEUED', 'PLANNING') THEN 'CANCELLED' ELSE 'CANCELLING' END,
    slot = CASE WHEN state IN ('QUEUED', 'PLANNING') THEN NULL ELSE slot END,
    completed_at = CASE WHEN state IN ('QUEUED', 'PLANNING') THEN clock_timestamp() END,
    worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1, progress_at = clock_timestamp(),
    error_code = 'CANCELLED', error_message = $3
WHERE id = $1 AND tenant = $2 AND state IN ('QUEUED', 'PLANNING', 'RUNNING', 'FINALIZING')
RETURNING state
