-- One job, by its id and its tenant: another tenant's job does not exist here.
SELECT id, kind, tenant, requested_by, window_start, window_end, format, compression, state, error_code, error_message,
       queued_at, started_at, completed_at, clock_timestamp() AS read_at,
       CASE WHEN state IN ('PLANNING', 'RUNNING') AND paused_until > clock_timestamp() THEN paused_until END AS paused_until,
       paused_code, paused_message
FROM export_jobs
WHERE id = $1 AND tenant = $2
