-- How jobs end other than by completing, and how it is seen that one does not move. Every column may be absent from
-- the statements of the version before: it works on beside this one while a rollout lasts.

-- Seen to move, and seen at all: the worker's last heartbeat, the last one that reported progress, and what the
-- reaper did last. `moved` is the worker's own count of rows and bytes in this attempt.
ALTER TABLE export_jobs
    ADD COLUMN heartbeat_at       timestamptz,
    ADD COLUMN progress_at        timestamptz,
    ADD COLUMN last_worker        uuid,
    ADD COLUMN reaped_at          timestamptz,
    ADD COLUMN last_error_code    text,
    ADD COLUMN last_error_message text;
ALTER TABLE export_job_tables
    ADD COLUMN heartbeat_at       timestamptz,
    ADD COLUMN progress_at        timestamptz,
    ADD COLUMN moved              bigint NOT NULL DEFAULT 0,
    ADD COLUMN last_worker        uuid,
    ADD COLUMN reaped_at          timestamptz,
    ADD COLUMN last_error_code    text,
    ADD COLUMN last_error_message text;
ALTER TABLE export_job_partitions
    ADD COLUMN heartbeat_at       timestamptz,
    ADD COLUMN progress_at        timestamptz,
    ADD COLUMN moved              bigint NOT NULL DEFAULT 0,
    ADD COLUMN last_worker        uuid,
    ADD COLUMN reaped_at          timestamptz;

-- A table is sealed in the moment before its manifest is written. From then on it ends by being published: nobody can
-- know any more whether the manifest is there, but everybody can write the same one again.
ALTER TABLE export_job_tables
    ADD COLUMN sealed_at   timestamptz,
    -- the keys under their final names, recorded before the first is written; NULL when nothing of it is to be removed
    ADD COLUMN publication jsonb;
COMMENT ON COLUMN export_job_tables.sealed_at IS 'When its manifest was about to be written; cancelling comes too late for it.';

CREATE INDEX export_jobs_ending ON export_jobs (id) WHERE state = 'CANCELLING';
CREATE INDEX export_job_tables_unpublished ON export_job_tables (job_id)
    WHERE state = 'FAILED' AND publication IS NOT NULL AND sealed_at IS NULL;

-- Limits that two transactions cannot overrun. A request that waits has a place among its tenant's; a partition that
-- runs has one of the connections to the warehouse, where their number is limited.
ALTER TABLE export_jobs ADD COLUMN place smallint CHECK (place >= 0);
CREATE UNIQUE INDEX export_jobs_place ON export_jobs (tenant, kind, place) WHERE state = 'QUEUED' AND place IS NOT NULL;
ALTER TABLE export_job_partitions ADD COLUMN connection smallint CHECK (connection >= 0);
CREATE UNIQUE INDEX export_job_partitions_connection ON export_job_partitions (connection)
    WHERE state = 'RUNNING' AND connection IS NOT NULL;

-- Joining a request that runs: what it was submitted under, and the keys of those who joined it.
ALTER TABLE export_jobs ADD COLUMN submitted_revision bigint;
CREATE INDEX export_jobs_to_join ON export_jobs (tenant, body_hash)
    WHERE state IN ('QUEUED', 'PLANNING', 'RUNNING', 'FINALIZING');
CREATE TABLE export_joined_keys (
    tenant          text NOT NULL,
    idempotency_key text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    body_hash       bytea NOT NULL,
    job_id          uuid NOT NULL REFERENCES export_jobs ON DELETE CASCADE,
    joined_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, idempotency_key)
);
CREATE INDEX export_joined_keys_of_job ON export_joined_keys (job_id);
COMMENT ON TABLE export_joined_keys IS 'Idempotency keys of requests that joined one that ran already.';

-- When anything of a job last moved. A job that is worked on and has not moved for a while is called stalled.
CREATE FUNCTION export_last_progress(job export_jobs) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT greatest(coalesce(job.progress_at, job.started_at, job.queued_at),
                    (SELECT max(progress_at) FROM export_job_tables WHERE job_id = job.id),
                    (SELECT max(progress_at) FROM export_job_partitions WHERE job_id = job.id))
$$;

-- A request that takes the place of one that an administrator has cleared: one for each, however often it is asked for.
ALTER TABLE export_jobs ADD COLUMN resubmit_of uuid;
CREATE UNIQUE INDEX export_jobs_resubmit_of ON export_jobs (resubmit_of) WHERE resubmit_of IS NOT NULL;

-- Retention: what has ended long ago becomes EXPIRED, and then its files go. `purged_at` says that nothing of it is left
-- in the bucket; `purge_until` keeps replicas from doing one twice.
ALTER TABLE export_jobs
    ADD COLUMN purged_at   timestamptz,
    ADD COLUMN purge_until timestamptz;
ALTER TABLE export_job_tables ADD COLUMN purged_at timestamptz;
CREATE INDEX export_jobs_to_expire ON export_jobs (completed_at)
    WHERE kind = 'on_demand' AND state IN ('COMPLETED', 'FAILED', 'CANCELLED') AND purged_at IS NULL;
CREATE INDEX export_jobs_to_purge ON export_jobs (completed_at) WHERE state = 'EXPIRED' AND purged_at IS NULL;
