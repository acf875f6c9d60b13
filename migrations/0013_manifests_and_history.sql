-- The text of a manifest from just before it is written until its table is published. A finalizer that repeats another's
-- work writes that one's text, though it may be of another version or have other settings.
ALTER TABLE export_job_tables ADD COLUMN manifest text;
COMMENT ON COLUMN export_job_tables.manifest IS 'What is about to be written as manifest; NULL once the table is published.';

COMMENT ON COLUMN export_download_audits.address IS
    'The client: the other end of the connection, or, where that is a proxy of EXPORTER_TRUSTED_PROXIES, whom the proxies name.';

-- Requests that ended long ago and have nothing left in the bucket: what their requester may still ask about them. Their
-- directories stay reserved in export_directories, which never referred to them.
CREATE TABLE export_archived_jobs (
    id            uuid PRIMARY KEY,
    kind          text NOT NULL,
    tenant        text NOT NULL,
    requested_by  text NOT NULL,
    window_start  timestamptz NOT NULL,
    window_end    timestamptz NOT NULL,
    format        text,
    compression   text,
    state         text NOT NULL CHECK (state IN ('FAILED', 'CANCELLED', 'EXPIRED')),
    error_code    text,
    error_message text,
    queued_at     timestamptz NOT NULL,
    started_at    timestamptz,
    completed_at  timestamptz NOT NULL,
    tables        jsonb NOT NULL,
    archived_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE export_archived_jobs IS 'Requests older than EXPORTER_HISTORY_DAYS, each with its tables in one row.';

-- Idempotency keys of archived requests: the same key still means the same request.
CREATE TABLE export_archived_keys (
    tenant          text NOT NULL,
    idempotency_key text NOT NULL,
    body_hash       bytea NOT NULL,
    job_id          uuid NOT NULL,
    PRIMARY KEY (tenant, idempotency_key)
);

CREATE INDEX export_jobs_to_archive ON export_jobs (completed_at)
    WHERE kind = 'on_demand' AND state IN ('FAILED', 'CANCELLED', 'EXPIRED') AND purged_at IS NOT NULL;
-- What goes with a job is found by it.
CREATE INDEX export_staged_objects_of_job ON export_staged_objects (job_id);
