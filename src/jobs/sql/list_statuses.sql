-- A tenant's table exports, newest first, filtered, after the one that a cursor names.
SELECT job_id, kind, tenant, table_name, export_date, window_start, window_end, revision, status.status, attempts,
       row_count, byte_count, manifest_url, policy_hash, unchanged_since, error_code, error_message, started_at, completed_at
FROM table_export_job_statuses AS status
WHERE tenant = $1
  AND ($2::text IS NULL OR table_name = $2)
  AND ($3::text IS NULL OR status.status = $3)
  AND ($4::text IS NULL OR kind = $4)
  AND ($5::uuid IS NULL OR job_id = $5)
  AND ($10::date IS NULL OR export_date >= $10)
  AND ($11::date IS NULL OR export_date <= $11)
  AND ($12::integer IS NULL OR revision = $12)
  AND (NOT $13::boolean OR export_date IS NULL OR NOT EXISTS (
      SELECT 1 FROM table_export_job_statuses AS later
      WHERE later.tenant = $1 AND later.kind = status.kind AND later.export_date = status.export_date
        AND later.table_name = status.table_name AND later.revision > status.revision))
  AND ($6::timestamptz IS NULL OR (started_at, job_id, table_name) < ($6, $7, $8))
ORDER BY started_at DESC, job_id DESC, table_name DESC
LIMIT $9
