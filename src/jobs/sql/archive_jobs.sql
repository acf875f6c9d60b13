-- Moves locked requests into the archive, with all that hangs on them. Directories stay reserved, and what was exported
-- and downloaded stays in table_export_job_statuses and export_download_audits: neither refers to the job. $1 jobs
WITH keys AS (
    INSERT INTO export_archived_keys (tenant, idempotency_key, body_hash, job_id)
    SELECT job.tenant, job.idempotency_key, job.body_hash, job.id
    FROM export_jobs AS job
    WHERE job.id = ANY ($1::uuid[]) AND job.idempotency_key IS NOT NULL
    UNION ALL
    SELECT joined.tenant, joined.idempotency_key, joined.body_hash, joined.job_id
    FROM export_joined_keys AS joined
    WHERE joined.job_id = ANY ($1::uuid[])
    ON CONFLICT DO NOTHING
), kept AS (
    INSERT INTO export_archived_jobs
        (id, kind, tenant, requested_by, window_start, window_end, format, compression, state, error_code, error_message,
         queued_at, started_at, completed_at, tables)
    SELECT job.id, job.kind, job.tenant, job.requested_by, job.window_start, job.window_end, job.format, job.compression,
           job.state, job.error_code, job.error_message, job.queued_at, job.started_at, job.completed_at,
           (SELECT coalesce(jsonb_agg(jsonb_build_object(
                       'table_name', t.table_name, 'state', t.state, 'files', t.files,
                       'error_code', t.error_code, 'error_message', t.error_message,
                       'weight', coalesce(p.weight, 0), 'done_weight', coalesce(p.done_weight, 0),
                       'rows', coalesce(p.rows, 0), 'bytes', coalesce(p.bytes, 0))), '[]')
            FROM export_job_tables AS t
            LEFT JOIN LATERAL (
                SELECT sum(weight) AS weight,
                       sum(CASE WHEN state = 'COMPLETED' THEN weight ELSE least(rows_seen, weight * 0.99) END) AS done_weight,
                       sum(coalesce(row_count, rows_seen)) AS rows,
                       sum(byte_count) AS bytes
                FROM export_job_partitions AS p
                WHERE p.job_id = t.job_id AND p.table_name = t.table_name
            ) AS p ON true
            WHERE t.job_id = job.id)
    FROM export_jobs AS job
    WHERE job.id = ANY ($1::uuid[])
)
DELETE FROM export_jobs WHERE id = ANY ($1::uuid[])
RETURNING id
