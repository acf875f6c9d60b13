-- The queue's statements as they were before migration 0010_endings.sql, one after the other under their names: what a
-- version runs that works on beside a newer one while a rollout lasts. Never edited; a migration that they do not fit
-- must be split into one that adds and a later one that takes away.

-- name: claim_job
-- Takes one job to plan: the oldest that waits for a slot its tenant has free, or one whose planner was lost.
-- $1 worker, $2 lease in seconds, $3 slots of a tenant, $4 only this job (or NULL)
WITH next AS MATERIALIZED (
    SELECT id, tenant, kind, slot
    FROM export_jobs AS job
    WHERE state IN ('QUEUED', 'PLANNING')
      AND lease_until IS NULL
      AND due_at <= clock_timestamp()
      AND (paused_until IS NULL OR paused_until <= clock_timestamp())
      AND ($4::uuid IS NULL OR id = $4)
      AND (slot IS NOT NULL OR EXISTS (
            SELECT 1 FROM generate_series(0, $3::int - 1) AS free (slot)
            WHERE NOT EXISTS (SELECT 1 FROM export_jobs AS active
                              WHERE active.tenant = job.tenant AND active.kind = job.kind AND active.slot = free.slot)))
    ORDER BY queued_at, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE export_jobs AS job
SET state = 'PLANNING',
    slot = coalesce(next.slot, (
        SELECT min(free.slot) FROM generate_series(0, $3::int - 1) AS free (slot)
        WHERE NOT EXISTS (SELECT 1 FROM export_jobs AS active
                          WHERE active.tenant = next.tenant AND active.kind = next.kind AND active.slot = free.slot)))::smallint,
    worker = $1,
    lease_epoch = job.lease_epoch + 1,
    lease_until = clock_timestamp() + make_interval(secs => $2),
    attempts = attempts + 1,
    started_at = coalesce(started_at, clock_timestamp())
FROM next
WHERE job.id = next.id
RETURNING job.id, job.kind, job.tenant, job.window_start, job.window_end, job.tables, job.format, job.compression,
          job.lease_epoch, job.attempts

-- name: claim_partition
-- Takes the next due partition in the fair order, and notes that its table is in progress.
-- $1 worker, $2 lease in seconds, $3 only this job (or NULL)
WITH next AS MATERIALIZED (
    SELECT id
    FROM export_job_partitions
    WHERE state = 'PENDING' AND due_at <= clock_timestamp() AND ($3::uuid IS NULL OR job_id = $3)
    ORDER BY fair_key, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE export_job_partitions AS partition
    SET state = 'RUNNING',
        worker = $1,
        lease_epoch = lease_epoch + 1,
        lease_until = clock_timestamp() + make_interval(secs => $2),
        attempts = attempts + 1,
        started_at = coalesce(started_at, clock_timestamp())
    FROM next
    WHERE partition.id = next.id
    RETURNING partition.*
), noted AS (
    INSERT INTO table_export_job_statuses AS status
        (job_id, kind, tenant, table_name, window_start, window_end, status, attempts, policy_hash)
    SELECT job.id, job.kind, job.tenant, claimed.table_name, job.window_start, job.window_end, 'IN-PROGRESS', 1,
           tables.plan -> 'policy' ->> 'hash'
    FROM claimed
    JOIN export_jobs AS job ON job.id = claimed.job_id
    JOIN export_job_tables AS tables ON tables.job_id = claimed.job_id AND tables.table_name = claimed.table_name
    ON CONFLICT (job_id, table_name) DO UPDATE SET attempts = status.attempts + 1
)
SELECT claimed.id, claimed.job_id, claimed.table_name, claimed.ordinal, claimed.scan, claimed.lease_epoch,
       claimed.attempts, job.tenant, tables.plan
FROM claimed
JOIN export_jobs AS job ON job.id = claimed.job_id
JOIN export_job_tables AS tables ON tables.job_id = claimed.job_id AND tables.table_name = claimed.table_name

-- name: claim_table
-- Takes one table whose partitions are all staged, to publish it.
-- $1 worker, $2 lease in seconds, $3 only this job (or NULL)
WITH next AS MATERIALIZED (
    SELECT job_id, table_name
    FROM export_job_tables
    WHERE state = 'READY' AND due_at <= clock_timestamp() AND ($3::uuid IS NULL OR job_id = $3)
    ORDER BY due_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE export_job_tables AS tables
SET state = 'FINALIZING',
    worker = $1,
    lease_epoch = lease_epoch + 1,
    lease_until = clock_timestamp() + make_interval(secs => $2),
    attempts = attempts + 1
FROM next
WHERE tables.job_id = next.job_id AND tables.table_name = next.table_name
RETURNING tables.job_id, tables.table_name, tables.directory, tables.plan, tables.lease_epoch, tables.attempts

-- name: complete_partition
-- The fenced commit of a partition. No row: the lease was lost, and the staged object is the worker's to delete.
UPDATE export_job_partitions
SET state = 'COMPLETED', worker = NULL, lease_until = NULL, completed_at = clock_timestamp(),
    staging_key = $3, row_count = $4, byte_count = $5, sha256 = $6, etag = $7, report = $8, rows_seen = greatest(rows_seen, $4),
    error_code = NULL, error_message = NULL
WHERE id = $1 AND lease_epoch = $2 AND state = 'RUNNING'
RETURNING job_id, table_name

-- name: complete_status
-- Says that a table is published. $3 rows, $4 bytes, $5 the manifest's address
UPDATE table_export_job_statuses
SET status = 'COMPLETED', row_count = $3, byte_count = $4, manifest_url = $5, completed_at = clock_timestamp()
WHERE job_id = $1 AND table_name = $2 AND status = 'IN-PROGRESS'

-- name: complete_table
-- The fenced commit of a publication. $4 files as JSON
UPDATE export_job_tables
SET state = 'COMPLETED', worker = NULL, lease_until = NULL, files = $4
WHERE job_id = $1 AND table_name = $2 AND lease_epoch = $3 AND state = 'FINALIZING'
RETURNING job_id

-- name: count_partition
-- Counts a committed partition; the last one makes its table ready to be published.
UPDATE export_job_tables
SET partitions_done = partitions_done + 1,
    state = CASE WHEN partitions_done + 1 = partitions_total THEN 'READY' ELSE state END,
    due_at = clock_timestamp()
WHERE job_id = $1 AND table_name = $2 AND state = 'EXTRACTING'
RETURNING state

-- name: export_tables
-- The tables that a tenant may export at all. Without a tenant column a table is the default tenant's alone.
SELECT table_name, on_demand, scheduled, time_column, format
FROM export_tables
WHERE enabled AND (tenant_column IS NOT NULL OR $1::text = $2::text)
ORDER BY table_name

-- name: fail_job
-- Ends a job that could not be planned. $2 epoch (or NULL, when nobody holds the lease), $3 code, $4 message
UPDATE export_jobs
SET state = 'FAILED', slot = NULL, worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1,
    completed_at = clock_timestamp(), error_code = $3, error_message = $4
WHERE id = $1 AND state = 'PLANNING'
  AND CASE WHEN $2::bigint IS NULL THEN lease_until IS NULL ELSE lease_epoch = $2 AND lease_until IS NOT NULL END
RETURNING id

-- name: fail_status
-- Says that a table has failed, also when no partition of it was ever claimed. $3 code, $4 message
INSERT INTO table_export_job_statuses AS status
    (job_id, kind, tenant, table_name, window_start, window_end, status, attempts, error_code, error_message,
     completed_at, policy_hash)
SELECT job.id, job.kind, job.tenant, $2, job.window_start, job.window_end, 'FAILED', 0, $3, $4, clock_timestamp(),
       (SELECT plan -> 'policy' ->> 'hash' FROM export_job_tables WHERE job_id = $1 AND table_name = $2)
FROM export_jobs AS job
WHERE job.id = $1
ON CONFLICT (job_id, table_name) DO UPDATE
SET status = 'FAILED', error_code = $3, error_message = $4, completed_at = clock_timestamp()
WHERE status.status = 'IN-PROGRESS'

-- name: fail_table
-- Ends a table badly, unless it has ended already. $3 code, $4 message
UPDATE export_job_tables
SET state = 'FAILED', worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1,
    error_code = $3, error_message = $4
WHERE job_id = $1 AND table_name = $2 AND state IN ('EXTRACTING', 'READY', 'FINALIZING')
RETURNING job_id

-- name: fair_start
-- Where a new job's partitions begin in the fair order: behind what its tenant has pending, and not before what is
-- being served now, so that a tenant that was quiet does not get its silence back.
SELECT greatest(
    coalesce((SELECT min(fair_key) FROM export_job_partitions WHERE state = 'PENDING'), 0),
    coalesce((SELECT max(fair_key) + 1 FROM export_job_partitions AS partition
              JOIN export_jobs AS job ON job.id = partition.job_id
              WHERE partition.state = 'PENDING' AND job.tenant = $1), 0),
    coalesce((SELECT max(fair_key) FROM export_job_partitions WHERE state = 'RUNNING'), 0))

-- name: find_job
-- One job, by its id and its tenant: another tenant's job does not exist here.
SELECT id, kind, tenant, requested_by, window_start, window_end, format, compression, state, error_code, error_message,
       queued_at, started_at, completed_at, clock_timestamp() AS read_at
FROM export_jobs
WHERE id = $1 AND tenant = $2

-- name: finish_planning
-- The fenced commit of a plan. $3 the revision of the rules that it was made under
UPDATE export_jobs
SET state = 'RUNNING', worker = NULL, lease_until = NULL, rules_revision = $3, error_code = NULL, error_message = NULL
WHERE id = $1 AND lease_epoch = $2 AND state = 'PLANNING' AND lease_until IS NOT NULL
RETURNING tenant

-- name: heartbeat_jobs
-- Renews planning leases. $1 ids, $2 epochs, $3 lease in seconds
UPDATE export_jobs AS job
SET lease_until = clock_timestamp() + make_interval(secs => $3)
FROM unnest($1::uuid[], $2::bigint[]) AS beat (id, epoch)
WHERE job.id = beat.id AND job.lease_epoch = beat.epoch AND job.state = 'PLANNING' AND job.lease_until IS NOT NULL
RETURNING job.id

-- name: heartbeat_partitions
-- Renews the leases that still have these epochs. A lease that is not in the answer is lost.
-- $1 ids, $2 epochs, $3 rows read so far, $4 lease in seconds
UPDATE export_job_partitions AS partition
SET lease_until = clock_timestamp() + make_interval(secs => $4),
    rows_seen = greatest(partition.rows_seen, beat.rows)
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS beat (id, epoch, rows)
WHERE partition.id = beat.id AND partition.lease_epoch = beat.epoch AND partition.state = 'RUNNING'
RETURNING partition.id

-- name: heartbeat_tables
-- Renews finalizing leases. $1 jobs, $2 tables, $3 epochs, $4 lease in seconds
UPDATE export_job_tables AS tables
SET lease_until = clock_timestamp() + make_interval(secs => $4)
FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS beat (job_id, table_name, epoch)
WHERE tables.job_id = beat.job_id AND tables.table_name = beat.table_name AND tables.lease_epoch = beat.epoch
  AND tables.state = 'FINALIZING'
RETURNING tables.job_id, tables.table_name

-- name: insert_partition
-- One planned partition. $3 ordinal, $4 scan, $5 weight, $6 place in the fair order
INSERT INTO export_job_partitions (job_id, table_name, ordinal, scan, weight, fair_key)
VALUES ($1, $2, $3, $4, $5, $6)

-- name: insert_table
-- One planned table. $3 state, $4 directory, $5 plan, $6 partitions, $7 code, $8 message
INSERT INTO export_job_tables (job_id, table_name, state, directory, plan, partitions_total, error_code, error_message)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: leftovers
-- Attempts that nobody will use any more: of tables that have ended, and those that were overtaken by a later epoch.
SELECT staged.staging_key, staged.upload_id
FROM export_staged_objects AS staged
JOIN export_job_partitions AS partition ON partition.id = staged.partition_id
JOIN export_job_tables AS tables ON tables.job_id = partition.job_id AND tables.table_name = partition.table_name
WHERE staged.removed_at IS NULL
  AND NOT (partition.state = 'RUNNING' AND partition.lease_epoch = staged.lease_epoch)
  AND (tables.state IN ('COMPLETED', 'FAILED') OR partition.staging_key IS DISTINCT FROM staged.staging_key)
ORDER BY staged.created_at
LIMIT $1
FOR UPDATE OF staged SKIP LOCKED

-- name: list_jobs
-- A tenant's jobs, newest first, after the one that a cursor names.
SELECT id, kind, tenant, requested_by, window_start, window_end, format, compression, state, error_code, error_message,
       queued_at, started_at, completed_at, clock_timestamp() AS read_at
FROM export_jobs
WHERE tenant = $1 AND ($2::timestamptz IS NULL OR (queued_at, id) < ($2, $3))
ORDER BY queued_at DESC, id DESC
LIMIT $4

-- name: list_statuses
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

-- name: offered_tables
-- The tables that are offered on demand to a tenant, and whether each can be cut by time.
SELECT table_name, time_column IS NOT NULL AS has_time
FROM export_tables
WHERE enabled AND on_demand AND (tenant_column IS NOT NULL OR $1::text = $2::text)

-- name: put_back_job
-- Gives a job back to be planned again. $3 seconds to wait, $4 whether the attempt counts
UPDATE export_jobs
SET worker = NULL, lease_until = NULL,
    due_at = clock_timestamp() + make_interval(secs => $3),
    attempts = CASE WHEN $4 THEN attempts ELSE attempts - 1 END
WHERE id = $1 AND lease_epoch = $2 AND state = 'PLANNING' AND lease_until IS NOT NULL
RETURNING id

-- name: put_back_partition
-- Gives a partition back, to be tried again after a pause. $3 seconds to wait, $4 whether the attempt counts
UPDATE export_job_partitions
SET state = 'PENDING', worker = NULL, lease_until = NULL,
    due_at = clock_timestamp() + make_interval(secs => $3),
    attempts = CASE WHEN $4 THEN attempts ELSE attempts - 1 END,
    error_code = $5, error_message = $6
WHERE id = $1 AND lease_epoch = $2 AND state = 'RUNNING'
RETURNING id

-- name: put_back_table
-- Gives a table back to be published again. $4 seconds to wait, $5 whether the attempt counts
UPDATE export_job_tables
SET state = 'READY', worker = NULL, lease_until = NULL,
    due_at = clock_timestamp() + make_interval(secs => $4),
    attempts = CASE WHEN $5 THEN attempts ELSE attempts - 1 END
WHERE job_id = $1 AND table_name = $2 AND lease_epoch = $3 AND state = 'FINALIZING'
RETURNING job_id

-- name: reap_jobs
-- Takes back planning leases that have run out.
UPDATE export_jobs
SET worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1, attempts = attempts - 1, crashes = crashes + 1
WHERE id IN (SELECT id FROM export_jobs
             WHERE state = 'PLANNING' AND lease_until < clock_timestamp() LIMIT 100 FOR UPDATE SKIP LOCKED)
RETURNING id, crashes >= $1 AS poison

-- name: reap_partitions
-- Takes back partitions whose lease has run out. They keep their due time and their place; the lost worker counts
-- as a crash and not as an attempt. $1 crashes after which a partition is poison
WITH late AS MATERIALIZED (
    SELECT id FROM export_job_partitions
    WHERE state = 'RUNNING' AND lease_until < clock_timestamp()
    ORDER BY lease_until
    LIMIT 100
    FOR UPDATE SKIP LOCKED
)
UPDATE export_job_partitions AS partition
SET state = 'PENDING',
    worker = NULL,
    lease_until = NULL,
    lease_epoch = lease_epoch + 1,
    attempts = attempts - 1,
    crashes = crashes + 1
FROM late
WHERE partition.id = late.id
RETURNING partition.id, partition.job_id, partition.table_name, partition.crashes >= $1 AS poison

-- name: reap_tables
-- Takes back finalizing leases that have run out: publishing is repeated, with the same bytes.
UPDATE export_job_tables
SET state = 'READY', worker = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1, attempts = attempts - 1,
    crashes = crashes + 1
WHERE (job_id, table_name) IN (SELECT job_id, table_name FROM export_job_tables
                               WHERE state = 'FINALIZING' AND lease_until < clock_timestamp()
                               LIMIT 100 FOR UPDATE SKIP LOCKED)
RETURNING job_id, table_name, crashes >= $1 AS poison

-- name: record_attempt
-- Records an attempt's object before anything is written to it, while the lease is held.
INSERT INTO export_staged_objects (staging_key, job_id, partition_id, lease_epoch)
SELECT $1, job_id, id, lease_epoch FROM export_job_partitions
WHERE id = $2 AND lease_epoch = $3 AND state = 'RUNNING'
RETURNING staging_key

-- name: record_upload
-- Records the multipart upload of an attempt before its first part.
UPDATE export_staged_objects SET upload_id = $2 WHERE staging_key = $1 AND removed_at IS NULL RETURNING staging_key

-- name: removed
-- Notes that an attempt's object and upload are gone from the store.
UPDATE export_staged_objects SET removed_at = clock_timestamp() WHERE staging_key = $1

-- name: reserve_directory
-- Reserves a directory for ever. No row: it is taken.
INSERT INTO export_directories (directory, job_id, table_name) VALUES ($1, $2, $3)
ON CONFLICT (directory) DO NOTHING
RETURNING directory

-- name: settle_job
-- Moves a job on after one of its tables has moved. Its row is locked before this is read, so of two tables that end
-- at once the later one sees the earlier.
UPDATE export_jobs AS job
SET state = CASE WHEN tables.open > tables.extracted THEN job.state
                 WHEN tables.open > 0 THEN 'FINALIZING'
                 WHEN tables.failed > 0 THEN 'FAILED'
                 ELSE 'COMPLETED' END,
    slot = CASE WHEN tables.open > 0 THEN job.slot END,
    completed_at = CASE WHEN tables.open = 0 THEN clock_timestamp() END,
    error_code = CASE WHEN tables.open = 0 THEN tables.code END,
    error_message = CASE WHEN tables.open = 0 AND tables.failed > 0
        THEN format('%s of %s tables failed; %s: %s', tables.failed, tables.failed + tables.completed, tables.first, tables.message) END
FROM (
    SELECT count(*) FILTER (WHERE state IN ('EXTRACTING', 'READY', 'FINALIZING')) AS open,
           count(*) FILTER (WHERE state IN ('READY', 'FINALIZING')) AS extracted,
           count(*) FILTER (WHERE state = 'FAILED') AS failed,
           count(*) FILTER (WHERE state = 'COMPLETED') AS completed,
           min(table_name) FILTER (WHERE state = 'FAILED') AS first,
           (array_agg(error_code ORDER BY table_name) FILTER (WHERE state = 'FAILED'))[1] AS code,
           (array_agg(error_message ORDER BY table_name) FILTER (WHERE state = 'FAILED'))[1] AS message
    FROM export_job_tables
    WHERE job_id = $1
) AS tables
WHERE job.id = $1 AND job.state IN ('RUNNING', 'FINALIZING')
RETURNING job.state

-- name: staged_partitions
-- What a table's partitions have staged, in the order of its files.
SELECT ordinal, scan, staging_key, row_count, byte_count, sha256, etag, report
FROM export_job_partitions
WHERE job_id = $1 AND table_name = $2 AND state = 'COMPLETED'
ORDER BY ordinal

-- name: stop_partitions
-- Ends what is open of a failed table. The new epoch takes the lease from whoever works on it: their next heartbeat
-- finds it lost.
UPDATE export_job_partitions
SET state = CASE WHEN id = $3 THEN 'FAILED' ELSE 'CANCELLED' END, worker = NULL, lease_until = NULL,
    lease_epoch = lease_epoch + 1, completed_at = clock_timestamp(),
    error_code = CASE WHEN id = $3 THEN $4 END, error_message = CASE WHEN id = $3 THEN $5 END
WHERE job_id = $1 AND table_name = $2 AND state IN ('PENDING', 'RUNNING')

-- name: submit
-- Inserts a request. No row comes back when the tenant has used this idempotency key before.
INSERT INTO export_jobs
    (id, kind, tenant, requested_by, window_start, window_end, tables, format, compression, idempotency_key, body_hash)
VALUES ($1, 'on_demand', $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING id

-- name: tables_of_jobs
-- The tables of some jobs with what their partitions have done. `weight` is what planning expected and never
-- changes, and rows_seen never falls, so neither does the progress made of them.
SELECT t.job_id, t.table_name, t.state, t.files, t.error_code, t.error_message,
       coalesce(p.weight, 0) AS weight, coalesce(p.done_weight, 0) AS done_weight,
       coalesce(p.rows, 0)::bigint AS rows, coalesce(p.bytes, 0)::bigint AS bytes
FROM export_job_tables AS t
LEFT JOIN LATERAL (
    SELECT sum(weight) AS weight,
           sum(CASE WHEN state = 'COMPLETED' THEN weight ELSE least(rows_seen, weight * 0.99) END) AS done_weight,
           sum(coalesce(row_count, rows_seen)) AS rows,
           sum(byte_count) AS bytes
    FROM export_job_partitions AS p
    WHERE p.job_id = t.job_id AND p.table_name = t.table_name
) AS p ON true
WHERE t.job_id = ANY ($1)
ORDER BY t.job_id, t.table_name

-- name: waiting_requests
-- How many requests of a tenant wait for a slot, counted no further than the limit.
SELECT count(*) FROM (
    SELECT 1 FROM export_jobs WHERE tenant = $1 AND kind = 'on_demand' AND state = 'QUEUED' LIMIT $2
) AS waiting
