-- Old jobs, as many as :jobs says, with all that hangs on them, and a few that wait or are worked on. Tests and the bench
-- fill a migrated database with it.
CREATE TEMPORARY TABLE old AS
SELECT n, ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id, 'tenant' || n % 100 AS tenant,
       (ARRAY['EXPIRED', 'EXPIRED', 'EXPIRED', 'FAILED', 'CANCELLED'])[1 + n % 5] AS state,
       clock_timestamp() - interval '10 days' - n * interval '30 s' AS at
FROM generate_series(1, :jobs) AS n;

INSERT INTO export_jobs (id, kind, tenant, requested_by, window_start, window_end, idempotency_key, body_hash, state,
                         rules_revision, attempts, error_code, error_message, queued_at, started_at, completed_at, purged_at)
SELECT id, 'on_demand', tenant, 'somebody', at - interval '1 day', at, CASE WHEN n % 2 = 0 THEN 'key' || n END,
       decode(md5(n::text), 'hex'), state, 1, 1, CASE WHEN state <> 'EXPIRED' THEN state END,
       CASE WHEN state <> 'EXPIRED' THEN 'as it happens' END, at, at, at, at + interval '8 days'
FROM old;
INSERT INTO export_job_tables (job_id, table_name, state, directory, plan, partitions_total, partitions_done, files, error_code, purged_at)
SELECT id, name, CASE state WHEN 'EXPIRED' THEN 'COMPLETED' ELSE 'FAILED' END, id || '/' || name, '{"policy": {"hash": "h"}}', 2, 2,
       CASE state WHEN 'EXPIRED' THEN jsonb_build_array(jsonb_build_object('key', id || '/' || name, 'rows', 10, 'bytes', 100, 'sha256', '')) END,
       CASE WHEN state <> 'EXPIRED' THEN state END, at + interval '8 days'
FROM old CROSS JOIN unnest('{cctv,way}'::text[]) AS name;
INSERT INTO export_job_partitions (job_id, table_name, ordinal, scan, state, fair_key, attempts, row_count, byte_count,
                                   sha256, etag, staging_key, rows_seen, started_at, completed_at)
SELECT id, name, ordinal, '{}', 'COMPLETED', n, 1, 10, 100, repeat('0', 64), 'e', id || name || ordinal, 10, at, at
FROM old CROSS JOIN unnest('{cctv,way}'::text[]) AS name CROSS JOIN generate_series(0, 1) AS ordinal;
INSERT INTO export_staged_objects (staging_key, job_id, partition_id, lease_epoch, upload_id, created_at, removed_at)
SELECT staging_key, job_id, id, 1, 'u', started_at, started_at FROM export_job_partitions WHERE staging_key IS NOT NULL;
INSERT INTO export_directories (directory, job_id, table_name, reserved_at)
SELECT id || '/' || name, id, name, at FROM old CROSS JOIN unnest('{cctv,way}'::text[]) AS name;
INSERT INTO table_export_job_statuses (job_id, kind, tenant, table_name, window_start, window_end, status, attempts, row_count,
                                       byte_count, manifest_url, error_code, started_at, completed_at)
SELECT id, 'on_demand', tenant, name, at - interval '1 day', at, CASE state WHEN 'EXPIRED' THEN 'COMPLETED' ELSE 'FAILED' END, 1, 10, 100,
       CASE WHEN state = 'EXPIRED' THEN 's3://b/' || id END, CASE WHEN state <> 'EXPIRED' THEN state END, at, at
FROM old CROSS JOIN unnest('{cctv,way}'::text[]) AS name;
INSERT INTO export_link_grants (id, job_id, tenant, subject, kind, handed_at, expires_at)
SELECT id, id, tenant, 'somebody', 'presigned', at, at + interval '1 day' FROM old WHERE state = 'EXPIRED';
INSERT INTO export_download_audits (at, tenant, subject, job_id, table_name, object_key, action, kind, grant_id, request_id)
SELECT at, tenant, 'somebody', id, 'way', id || '/way', 'handed_out', 'presigned', id, 'r' FROM old WHERE state = 'EXPIRED';
INSERT INTO export_joined_keys (tenant, idempotency_key, body_hash, job_id)
SELECT tenant, 'joined' || n, decode(md5(n::text), 'hex'), id FROM old WHERE n % 10 = 0;
INSERT INTO export_archived_jobs (id, kind, tenant, requested_by, window_start, window_end, state, queued_at, completed_at, tables)
SELECT gen_random_uuid(), 'on_demand', tenant, 'somebody', at - interval '1 day', at, 'EXPIRED', at, at, '[]' FROM old;
INSERT INTO export_archived_keys (tenant, idempotency_key, body_hash, job_id)
SELECT tenant, 'archived' || n, decode(md5(n::text), 'hex'), id FROM old;
INSERT INTO admin_audit (actor, tenant, origin, action, target, request_id)
SELECT 'somebody', tenant, 'api', 'clear_stalled_request', id::text, 'r' FROM old WHERE n % 2 = 0;

-- What is going on now: some tenants with a job that waits, and some with one that is worked on.
INSERT INTO export_jobs (id, kind, tenant, requested_by, window_start, window_end, body_hash, state, slot, place, started_at)
SELECT gen_random_uuid(), 'on_demand', 'tenant' || n, 'somebody', '2026-03-01T00:00Z', '2026-03-02T00:00Z', '\x00',
       CASE WHEN n % 2 = 0 THEN 'RUNNING' ELSE 'QUEUED' END, CASE WHEN n % 2 = 0 THEN 0 END, CASE WHEN n % 2 = 1 THEN 0 END,
       clock_timestamp()
FROM generate_series(1, 50) AS n;
INSERT INTO export_job_tables (job_id, table_name, state, directory, plan, partitions_total)
SELECT id, 'way', 'EXTRACTING', id || '/way', '{"policy": {"hash": "h"}}', 20 FROM export_jobs WHERE state = 'RUNNING';
INSERT INTO export_job_partitions (job_id, table_name, ordinal, scan, fair_key)
SELECT id, 'way', ordinal, '{}', ordinal FROM export_jobs CROSS JOIN generate_series(0, 19) AS ordinal WHERE state = 'RUNNING';
DROP TABLE old;
