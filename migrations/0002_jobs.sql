-- The durable queue. A job is planned, its tables are extracted partition by partition, and each table is published
-- by a finalizer. Whoever works on something holds a lease with an epoch; every write of a worker names both.
--
-- Only clock_timestamp() of this database decides what is due, leased or late.

CREATE TABLE export_jobs (
    id              uuid PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('on_demand', 'scheduled')),
    tenant          text NOT NULL DEFAULT 'default' CHECK (tenant <> ''),
    requested_by    text NOT NULL,
    window_start    timestamptz NOT NULL,
    window_end      timestamptz NOT NULL,
    tables          text[] CHECK (cardinality(tables) > 0),
    format          text NOT NULL DEFAULT 'parquet' CHECK (format IN ('parquet', 'csv', 'jsonl')),
    idempotency_key text CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    body_hash       bytea NOT NULL,
    state           text NOT NULL DEFAULT 'QUEUED' CHECK (state IN
                        ('QUEUED', 'PLANNING', 'RUNNING', 'FINALIZING', 'CANCELLING', 'COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED')),
    slot            smallint CHECK (slot >= 0),
    rules_revision  bigint,
    -- the planning lease
    lease_epoch     bigint NOT NULL DEFAULT 0,
    lease_until     timestamptz,
    worker          uuid,
    attempts        integer NOT NULL DEFAULT 0,
    crashes         integer NOT NULL DEFAULT 0,
    due_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    paused_until    timestamptz,
    error_code      text,
    error_message   text,
    queued_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at      timestamptz,
    completed_at    timestamptz,
    CONSTRAINT window_not_empty CHECK (window_start < window_end),
    CONSTRAINT active_holds_a_slot
        CHECK ((state IN ('PLANNING', 'RUNNING', 'FINALIZING', 'CANCELLING')) = (slot IS NOT NULL)),
    CONSTRAINT lease_is_whole CHECK ((lease_until IS NULL) = (worker IS NULL)),
    CONSTRAINT only_planning_is_leased CHECK (lease_until IS NULL OR state = 'PLANNING'),
    CONSTRAINT ended_has_a_time
        CHECK ((state IN ('COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED')) = (completed_at IS NOT NULL)),
    CONSTRAINT failed_says_why CHECK (state <> 'FAILED' OR error_code IS NOT NULL)
);
-- The limit on active jobs is this index, not a count: two transactions cannot take one slot.
CREATE UNIQUE INDEX export_jobs_slot ON export_jobs (tenant, kind, slot) WHERE slot IS NOT NULL;
CREATE UNIQUE INDEX export_jobs_idempotency ON export_jobs (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX export_jobs_to_plan ON export_jobs (queued_at, id) WHERE state IN ('QUEUED', 'PLANNING');
CREATE INDEX export_jobs_waiting ON export_jobs (tenant, kind) WHERE state = 'QUEUED';
CREATE INDEX export_jobs_of_tenant ON export_jobs (tenant, queued_at DESC, id DESC);

-- One table of one job: its plan, and the lease of the finalizer that publishes it.
CREATE TABLE export_job_tables (
    job_id           uuid NOT NULL REFERENCES export_jobs ON DELETE CASCADE,
    table_name       text NOT NULL,
    state            text NOT NULL CHECK (state IN ('EXTRACTING', 'READY', 'FINALIZING', 'COMPLETED', 'FAILED', 'SKIPPED')),
    directory        text UNIQUE,
    plan             jsonb,
    partitions_total integer NOT NULL DEFAULT 0,
    partitions_done  integer NOT NULL DEFAULT 0,
    files            jsonb,
    lease_epoch      bigint NOT NULL DEFAULT 0,
    lease_until      timestamptz,
    worker           uuid,
    attempts         integer NOT NULL DEFAULT 0,
    crashes          integer NOT NULL DEFAULT 0,
    due_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    error_code       text,
    error_message    text,
    PRIMARY KEY (job_id, table_name),
    CONSTRAINT done_within_total CHECK (partitions_done BETWEEN 0 AND partitions_total),
    CONSTRAINT leased_while_finalizing CHECK ((state = 'FINALIZING') = (lease_until IS NOT NULL)),
    CONSTRAINT lease_is_whole CHECK ((lease_until IS NULL) = (worker IS NULL)),
    CONSTRAINT ready_is_whole CHECK (state NOT IN ('READY', 'FINALIZING', 'COMPLETED') OR partitions_done = partitions_total),
    CONSTRAINT completed_has_files CHECK ((state = 'COMPLETED') = (files IS NOT NULL)),
    CONSTRAINT worked_on_has_a_plan CHECK (state IN ('FAILED', 'SKIPPED') OR (plan IS NOT NULL AND directory IS NOT NULL)),
    CONSTRAINT ended_badly_says_why CHECK (state NOT IN ('FAILED', 'SKIPPED') OR error_code IS NOT NULL)
);
CREATE INDEX export_job_tables_ready ON export_job_tables (due_at) WHERE state = 'READY';
CREATE INDEX export_job_tables_leased ON export_job_tables (lease_until) WHERE state = 'FINALIZING';

-- The unit of claiming, retrying and resuming. One partition, one file.
CREATE TABLE export_job_partitions (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id        uuid NOT NULL,
    table_name    text NOT NULL,
    ordinal       integer NOT NULL CHECK (ordinal >= 0),
    scan          jsonb NOT NULL,
    weight        double precision NOT NULL DEFAULT 1 CHECK (weight > 0),
    state         text NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')),
    -- computed when queued so that tenants take turns; a locking read can take no window function
    fair_key      bigint NOT NULL,
    due_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts      integer NOT NULL DEFAULT 0,
    crashes       integer NOT NULL DEFAULT 0,
    lease_epoch   bigint NOT NULL DEFAULT 0,
    lease_until   timestamptz,
    worker        uuid,
    rows_seen     bigint NOT NULL DEFAULT 0,
    row_count     bigint,
    byte_count    bigint,
    sha256        text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    crc32c        text,
    etag          text,
    staging_key   text UNIQUE,
    error_code    text,
    error_message text,
    started_at    timestamptz,
    completed_at  timestamptz,
    UNIQUE (job_id, table_name, ordinal),
    FOREIGN KEY (job_id, table_name) REFERENCES export_job_tables ON DELETE CASCADE,
    CONSTRAINT running_holds_a_lease CHECK ((state = 'RUNNING') = (lease_until IS NOT NULL)),
    CONSTRAINT lease_is_whole CHECK ((lease_until IS NULL) = (worker IS NULL)),
    CONSTRAINT completed_has_an_object
        CHECK ((state = 'COMPLETED') = (num_nulls(staging_key, row_count, byte_count, sha256, etag, completed_at) = 0))
);
CREATE INDEX export_job_partitions_pending ON export_job_partitions (fair_key, id) WHERE state = 'PENDING';
CREATE INDEX export_job_partitions_running ON export_job_partitions (lease_until) WHERE state = 'RUNNING';

-- Every attempt's upload, recorded before its first byte. Clean-up deletes what is listed here and nothing else.
CREATE TABLE export_staged_objects (
    staging_key  text PRIMARY KEY,
    job_id       uuid NOT NULL REFERENCES export_jobs ON DELETE CASCADE,
    partition_id bigint NOT NULL,
    lease_epoch  bigint NOT NULL,
    upload_id    text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at   timestamptz
);
CREATE INDEX export_staged_objects_left ON export_staged_objects (job_id) WHERE removed_at IS NULL;

-- Directories are reserved for ever: two jobs never write into one, whatever happened to the first.
CREATE TABLE export_directories (
    directory   text PRIMARY KEY,
    job_id      uuid NOT NULL,
    table_name  text NOT NULL,
    reserved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (job_id, table_name)
);

-- What operators and archivers read.
CREATE TABLE table_export_job_statuses (
    job_id        uuid NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('on_demand', 'scheduled')),
    tenant        text NOT NULL,
    schedule      text,
    table_name    text NOT NULL,
    export_date   date,
    window_start  timestamptz NOT NULL,
    window_end    timestamptz NOT NULL,
    revision      integer NOT NULL DEFAULT 1,
    status        text NOT NULL CHECK (status IN ('IN-PROGRESS', 'COMPLETED', 'FAILED')),
    attempts      integer NOT NULL DEFAULT 0,
    row_count     bigint,
    byte_count    bigint,
    manifest_url  text,
    policy_hash   text,
    error_code    text,
    error_message text,
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed_at  timestamptz,
    PRIMARY KEY (job_id, table_name),
    CONSTRAINT completed_has_a_manifest CHECK ((status = 'COMPLETED') = (manifest_url IS NOT NULL)),
    CONSTRAINT failed_says_why CHECK (status <> 'FAILED' OR error_code IS NOT NULL),
    CONSTRAINT ended_has_a_time CHECK ((status = 'IN-PROGRESS') = (completed_at IS NULL))
);
CREATE INDEX table_export_job_statuses_listed ON table_export_job_statuses (tenant, started_at DESC, job_id, table_name);
