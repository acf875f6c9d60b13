-- Begins to end a job that is stuck. Its tables and the job are locked. $2 says why
UPDATE export_jobs
SET state = CASE WHEN state = 'PLANNING' THEN 'FAILED' ELSE 'CANCELLING' END,
    slot = CASE WHEN state = 'PLANNING' THEN NULL ELSE slot END,
    completed_at = CASE WHEN state = 'PLANNING' THEN clock_timestamp() END,
    worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1, progress_at = clock_timestamp(),
    error_code = 'STALLED', error_message = $2
WHERE id = $1 AND state IN ('PLANNING', 'RUNNING', 'FINALIZING', 'CANCELLING')
RETURNING state
