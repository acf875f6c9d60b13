-- One request that was archived, by its id and its tenant.
SELECT id, kind, tenant, requested_by, window_start, window_end, format, compression, state, error_code, error_message,
       queued_at, started_at, completed_at, clock_timestamp() AS read_at, NULL::timestamptz AS paused_until,
       NULL::text AS paused_code, NULL::text AS paused_message
FROM export_archived_jobs
WHERE id = $1 AND tenant = $2
