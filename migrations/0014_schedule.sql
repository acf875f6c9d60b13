-- The schedule: until when its fires are decided, what each fire did, and the days that are exported.

CREATE TABLE export_schedules (
    schedule      text PRIMARY KEY CHECK (schedule <> ''),
    decided_until timestamptz NOT NULL
);
COMMENT ON COLUMN export_schedules.decided_until IS
    'Every fire up to here has been decided. Fires are decided under a lock on this row.';

CREATE TABLE export_schedule_fires (
    schedule    text NOT NULL REFERENCES export_schedules,
    fire_at     timestamptz NOT NULL,
    export_date date NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('STARTED', 'KNOWN', 'MISSED')),
    job_id      uuid,
    decided_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (schedule, fire_at),
    CONSTRAINT only_a_missed_fire_has_no_job CHECK ((outcome = 'MISSED') = (job_id IS NULL))
);
COMMENT ON COLUMN export_schedule_fires.outcome IS
    'STARTED: it made the job. KNOWN: the day had a job already. MISSED: it was decided too late to be caught up.';

-- A day of the schedule, once for each time that it was exported. Its folder belongs to the date, whichever schedule it
-- came from, so two jobs can never be the same revision of one.
CREATE TABLE export_days (
    -- deferred: the day is taken first, and then its job is made
    job_id       uuid PRIMARY KEY REFERENCES export_jobs ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    schedule     text NOT NULL,
    export_date  date NOT NULL,
    revision     integer NOT NULL CHECK (revision > 0),
    time_zone    text NOT NULL,
    window_start timestamptz NOT NULL,
    window_end   timestamptz NOT NULL,
    CONSTRAINT window_not_empty CHECK (window_start < window_end),
    UNIQUE (export_date, revision),
    UNIQUE (schedule, window_start, revision)
);

-- What was asked for on demand comes before the schedule.
ALTER TABLE export_job_partitions ADD COLUMN scheduled boolean NOT NULL DEFAULT false;
DROP INDEX export_job_partitions_pending;
CREATE INDEX export_job_partitions_pending ON export_job_partitions (scheduled, fair_key, id) WHERE state = 'PENDING';

CREATE INDEX table_export_job_statuses_of_days ON table_export_job_statuses (export_date, table_name, revision)
    WHERE export_date IS NOT NULL;

-- A day is closed when its job has ended and its summary is written: `_SUCCESS` or `_FAILED`.
ALTER TABLE export_days
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN succeeded boolean,
    ADD CONSTRAINT closed_says_how CHECK ((closed_at IS NULL) = (succeeded IS NULL));
CREATE INDEX export_days_to_close ON export_days (export_date, revision) WHERE closed_at IS NULL;

-- What restated tables still owe to readers of their folder: the files of the latest revision under the names that can be
-- seen. Whoever follows the manifest has them already.
CREATE TABLE export_day_swaps (
    job_id      uuid NOT NULL,
    table_name  text NOT NULL,
    export_date date NOT NULL,
    revision    integer NOT NULL,
    folder      text NOT NULL,
    due_at      timestamptz NOT NULL,
    done_at     timestamptz,
    PRIMARY KEY (job_id, table_name),
    FOREIGN KEY (job_id, table_name) REFERENCES export_job_tables ON DELETE CASCADE
);
CREATE INDEX export_day_swaps_due ON export_day_swaps (due_at) WHERE done_at IS NULL;
