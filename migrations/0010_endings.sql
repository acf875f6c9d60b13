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
