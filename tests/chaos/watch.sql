-- What the harness sees of the queue: every change of who works on what, with the database's time.
CREATE SCHEMA chaos;
CREATE TABLE chaos.moves (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind            text NOT NULL,
    item            text NOT NULL,
    before          text NOT NULL,
    after           text NOT NULL,
    epoch_before    bigint NOT NULL,
    worker_before   uuid,
    worker_after    uuid,
    crashes_before  integer NOT NULL,
    crashes_after   integer NOT NULL,
    attempts_before integer NOT NULL,
    attempts_after  integer NOT NULL
);
CREATE INDEX moves_of_item ON chaos.moves (kind, item, id);
CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    o jsonb := to_jsonb(OLD);
    n jsonb := to_jsonb(NEW);
BEGIN
    INSERT INTO chaos.moves (kind, item, before, after, epoch_before, worker_before, worker_after, crashes_before,
                             crashes_after, attempts_before, attempts_after)
    VALUES (replace(TG_TABLE_NAME, 'export_job_', ''), coalesce(n ->> 'id', (n ->> 'job_id') || '/' || (n ->> 'table_name')),
            OLD.state, NEW.state, OLD.lease_epoch, OLD.worker, NEW.worker, OLD.crashes, NEW.crashes, OLD.attempts, NEW.attempts);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_notes AFTER UPDATE ON export_job_partitions FOR EACH ROW
    WHEN ((OLD.state, OLD.lease_epoch, OLD.worker) IS DISTINCT FROM (NEW.state, NEW.lease_epoch, NEW.worker))
    EXECUTE FUNCTION chaos.note();
CREATE TRIGGER chaos_notes AFTER UPDATE ON export_job_tables FOR EACH ROW
    WHEN ((OLD.state, OLD.lease_epoch, OLD.worker) IS DISTINCT FROM (NEW.state, NEW.lease_epoch, NEW.worker))
    EXECUTE FUNCTION chaos.note();
CREATE TRIGGER chaos_notes AFTER UPDATE ON export_jobs FOR EACH ROW
    WHEN ((OLD.state, OLD.lease_epoch, OLD.worker) IS DISTINCT FROM (NEW.state, NEW.lease_epoch, NEW.worker))
    EXECUTE FUNCTION chaos.note();
