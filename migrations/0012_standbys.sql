-- Reading from standbys: a job that waits says why, and a partition that a standby has ended is cut into smaller ones.

-- With `paused_until`: what is waited for, as an error's code and message. Only true until then.
ALTER TABLE export_jobs
    ADD COLUMN paused_code    text,
    ADD COLUMN paused_message text,
    ADD CONSTRAINT pause_says_why CHECK ((paused_code IS NULL) = (paused_message IS NULL));

-- How often a standby has ended a scan of this partition, or of the one that it was cut from, because replay needed
-- what was being read. These are no attempts.
ALTER TABLE export_job_partitions ADD COLUMN conflicts integer NOT NULL DEFAULT 0 CHECK (conflicts >= 0);

-- The partitions behind one that is cut move up, all in one statement: so the key is looked at when that has ended.
ALTER TABLE export_job_partitions
    DROP CONSTRAINT export_job_partitions_job_id_table_name_ordinal_key,
    ADD CONSTRAINT export_job_partitions_job_id_table_name_ordinal_key
        UNIQUE (job_id, table_name, ordinal) DEFERRABLE INITIALLY IMMEDIATE;
