-- One moment of the warehouse for all partitions of a table, while the worker that holds it lives. Every column may be
-- absent from the statements of the version before.

CREATE TABLE export_snapshots (
    id         uuid PRIMARY KEY,
    job_id     uuid NOT NULL REFERENCES export_jobs ON DELETE CASCADE,
    table_name text NOT NULL,
    -- what the warehouse gave; NULL while the holder asks for it
    token      text,
    worker     uuid NOT NULL,
    -- one of the connections to the warehouse that are for holders, where their number is limited
    connection smallint CHECK (connection >= 0),
    begun_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    held_until timestamptz NOT NULL,
    ended_at   timestamptz
);
CREATE UNIQUE INDEX export_snapshots_of_table ON export_snapshots (job_id, table_name) WHERE ended_at IS NULL;
CREATE INDEX export_snapshots_of_job ON export_snapshots (job_id);
CREATE UNIQUE INDEX export_snapshots_connection ON export_snapshots (connection)
    WHERE ended_at IS NULL AND connection IS NOT NULL;
COMMENT ON TABLE export_snapshots IS 'Who holds a moment of the warehouse for which table, and what others import it by.';

-- The snapshot that a committed partition was read under.
ALTER TABLE export_job_partitions ADD COLUMN snapshot_id uuid;
COMMENT ON COLUMN export_job_partitions.snapshot_id IS 'Equal in all partitions of a table: its files show one moment.';
