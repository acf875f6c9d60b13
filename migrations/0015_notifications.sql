-- What there is to tell the outside. A row is written in the transaction of the fact that it tells of, and sent afterwards
-- by whoever claims it: so nothing is told that did not happen, and nothing that happened is forgotten.
CREATE TABLE export_notifications (
    event_id      uuid PRIMARY KEY,
    -- what must be told once only, whoever notices it
    once          text UNIQUE CHECK (once <> ''),
    event_type    text NOT NULL CHECK (event_type <> ''),
    status        text NOT NULL CHECK (status IN ('COMPLETED', 'FAILED', 'WARNING')),
    schedule      text,
    export_date   date,
    revision      integer CHECK (revision > 0),
    job_id        uuid,
    table_name    text,
    body          jsonb NOT NULL CHECK (jsonb_typeof(body) = 'object'),
    occurred_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- sending: whoever holds a row has moved its due time into the future, and the epoch fences what it says afterwards
    queued_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_epoch   bigint NOT NULL DEFAULT 0,
    attempts      integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    refusals      integer NOT NULL DEFAULT 0 CHECK (refusals >= 0),
    sent_at       timestamptz,
    dead_at       timestamptz,
    error_code    text,
    error_message text,
    CONSTRAINT sent_is_not_dead CHECK (sent_at IS NULL OR dead_at IS NULL),
    CONSTRAINT dead_says_why CHECK (dead_at IS NULL OR error_code IS NOT NULL),
    CONSTRAINT error_is_whole CHECK ((error_code IS NULL) = (error_message IS NULL))
);
COMMENT ON COLUMN export_notifications.event_id IS 'The same however often the message is sent: consumers know repetitions by it.';
COMMENT ON COLUMN export_notifications.queued_at IS 'When it was last put up to be sent: when it occurred, or was resent.';
COMMENT ON COLUMN export_notifications.refusals IS 'Attempts since then that failed for a reason that does not pass by itself.';
CREATE INDEX export_notifications_due ON export_notifications (due_at) WHERE sent_at IS NULL AND dead_at IS NULL;
CREATE INDEX export_notifications_dead ON export_notifications (dead_at) WHERE dead_at IS NOT NULL;
CREATE INDEX export_notifications_sent ON export_notifications (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX export_notifications_listed ON export_notifications (occurred_at DESC, event_id DESC);

-- The drift of each table that was told last, so that it is told when it changes and not whenever a table is planned.
CREATE TABLE export_told_drift (
    table_name text PRIMARY KEY,
    digest     bytea NOT NULL,
    told_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
