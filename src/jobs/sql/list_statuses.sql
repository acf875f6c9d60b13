-- A tenant's table exports, newest first, filtered, after the one that a cursor names.
SELECT job_id, kind, tenant, table_name, export_date, window_start, window_end, revision, status, attempts,
       row_count, byte_count, manifest_url, policy_hash, error_code, error_message, started_at, completed_at
FROM table_export_job_statuses
WHERE tenant = $1
  AND ($2::text IS NULL OR table_name = $2)
  AND ($3::text IS NULL OR status = $3)
  AND ($4::text IS NULL OR kind = $4)
  AND ($5::uuid IS NULL OR job_id = $5)
  AND ($6::timestamptz IS NULL OR (started_at, job_id, table_name) < ($6, $7, $8))
ORDER BY started_at DESC, job_id DESC, table_name DESC
LIMIT $9
