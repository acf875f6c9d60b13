-- A tenant's jobs, newest first, after the one that a cursor names.
SELECT id, kind, tenant, requested_by, window_start, window_end, format, compression, state, error_code, error_message,
       queued_at, started_at, completed_at, clock_timestamp() AS read_at,
       CASE WHEN state IN ('PLANNING', 'RUNNING') AND paused_until > clock_timestamp() THEN paused_until END AS paused_until,
       paused_code, paused_message
FROM export_jobs
WHERE tenant = $1 AND ($2::timestamptz IS NULL OR (queued_at, id) < ($2, $3))
ORDER BY queued_at DESC, id DESC
LIMIT $4
