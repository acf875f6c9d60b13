-- How personal data is searched for, as a text; the rules of a moment, kept for exports that were made under them;
-- and for rows written by plain SQL the same validation as for files, as far as SQL can have it.
-- What a CHECK says of rows that are there already is said when they are loaded, not here: a migration must not fail
-- over a rule that a data owner can correct. Hence NOT VALID.

CREATE TABLE pii_rules (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    rules    text NOT NULL CHECK (rules <> '')
);
COMMENT ON TABLE pii_rules IS 'The text of pii.toml. No row: everything that is known is searched for and redacted.';
CREATE TRIGGER record_change AFTER INSERT OR UPDATE OR DELETE ON pii_rules
    FOR EACH ROW EXECUTE FUNCTION record_rule_change();
CREATE TRIGGER record_truncate AFTER TRUNCATE ON pii_rules
    FOR EACH STATEMENT EXECUTE FUNCTION record_rule_change();

CREATE TABLE rules_snapshots (
    revision bigint PRIMARY KEY,
    rules    jsonb NOT NULL,
    pii      text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE rules_snapshots IS 'The rules of each revision under which a job was planned: why an old export has its shape.';

-- One text for one table: `way` and `public.way` would be two rows that contradict each other.
CREATE FUNCTION check_rule_table_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.table_name !~ '^[^.]+([.].+)?$' THEN
        RAISE check_violation USING
            MESSAGE = format('%s: ''%s'' is not a table name', TG_TABLE_NAME, NEW.table_name),
            HINT = 'Write table or schema.table, neither part empty.';
    ELSIF NEW.table_name ~ '^public[.][^.]+$' THEN
        RAISE check_violation USING
            MESSAGE = format('%s: ''%s'' is not the normal form of this table name', TG_TABLE_NAME, NEW.table_name),
            HINT = format('Write %s: the schema public is not named.', substr(NEW.table_name, 8));
    END IF;
    RETURN NEW;
END $$;

DO $$
DECLARE
    rules text;
BEGIN
    FOREACH rules IN ARRAY ARRAY['export_tables', 'data_column_classification', 'long_table_data_classifications',
                                 'column_restrictions'] LOOP
        EXECUTE format('CREATE TRIGGER check_table_name BEFORE INSERT OR UPDATE OF table_name ON %I
                        FOR EACH ROW EXECUTE FUNCTION check_rule_table_name()', rules);
    END LOOP;
END $$;

CREATE FUNCTION check_rule_time_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.time_zone <> 'UTC' AND NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = NEW.time_zone) THEN
        RAISE check_violation USING
            MESSAGE = format('export_tables %s: time_zone ''%s'' is not the name of a zone', NEW.table_name, NEW.time_zone),
            HINT = 'Write one such as UTC or Europe/Berlin; pg_timezone_names has them all.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_time_zone BEFORE INSERT OR UPDATE OF time_zone ON export_tables
    FOR EACH ROW EXECUTE FUNCTION check_rule_time_zone();

-- A value, a metric's name and a source's name are judged by different tables: one column cannot be two.
ALTER TABLE export_tables
    ADD CONSTRAINT value_not_metric CHECK (value_column <> metric_column) NOT VALID,
    ADD CONSTRAINT value_not_source CHECK (value_column <> source_column) NOT VALID,
    ADD CONSTRAINT value_not_tenant CHECK (value_column <> tenant_column) NOT VALID,
    ADD CONSTRAINT value_not_time CHECK (value_column <> time_column) NOT VALID,
    ADD CONSTRAINT source_not_metric CHECK (source_column <> metric_column) NOT VALID;

ALTER TABLE data_column_classification
    ADD CONSTRAINT exemption_not_blank CHECK (btrim(pii_exempt_by) <> '' AND btrim(pii_exempt_reason) <> '') NOT VALID,
    ADD CONSTRAINT exemption_ends CHECK (pii_exempt_until BETWEEN '0001-01-01' AND '9999-12-31') NOT VALID;

-- A number that JSON writes without point or exponent.
CREATE FUNCTION rule_integer_between(value jsonb, least_of bigint, most_of bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(CASE WHEN jsonb_typeof(value) = 'number' AND value::text ~ '^-?[0-9]{1,10}$'
                         THEN value::text::bigint BETWEEN least_of AND most_of END, false)
$$;

CREATE FUNCTION restriction_params_hold(action text, params jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(CASE
        WHEN jsonb_typeof(params) <> 'object' THEN false
        WHEN action = 'pseudonym' THEN
            params - 'domain' - 'per' = '{}'
            AND jsonb_typeof(params -> 'domain') = 'string' AND btrim(params ->> 'domain') <> ''
            AND coalesce(params ->> 'per', 'day') = 'day'
        WHEN action = 'truncate' THEN
            params - 'length' = '{}' AND rule_integer_between(params -> 'length', 0, 4294967295)
        WHEN action = 'generalise' THEN
            (SELECT count(*) FROM jsonb_object_keys(params)) = 1
            AND CASE
                WHEN params ? 'round' THEN rule_integer_between(params -> 'round', -18, 18)
                WHEN params ? 'wkt' THEN rule_integer_between(params -> 'wkt', 0, 18)
                WHEN params ? 'date_trunc' THEN
                    params -> 'date_trunc' IN ('"minute"', '"hour"', '"day"', '"week"', '"month"', '"quarter"', '"year"')
                WHEN params ? 'network_prefix' THEN
                    rule_integer_between(params -> 'network_prefix' -> 'v4', 0, 32)
                    AND rule_integer_between(params -> 'network_prefix' -> 'v6', 0, 128)
                END
        ELSE params = '{}'
    END, false)
$$;

ALTER TABLE column_restrictions
    ADD CONSTRAINT params_fit_the_action CHECK (restriction_params_hold(action, params)) NOT VALID,
    ADD CONSTRAINT owner_not_blank CHECK (btrim(owner) <> '') NOT VALID,
    ADD CONSTRAINT reason_not_blank CHECK (btrim(reason) <> '') NOT VALID,
    ADD CONSTRAINT expires_at_a_day CHECK (expires_at BETWEEN '0001-01-01' AND '9999-12-31') NOT VALID;

-- Rows of several tables contradict each other only at the end of a transaction.
CREATE FUNCTION check_rules_agree() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM export_tables AS listed JOIN long_table_data_classifications USING (table_name)
               WHERE listed.table_name = NEW.table_name AND listed.metric_column IS NULL) THEN
        RAISE check_violation USING
            MESSAGE = format('table ''%s'' has no metric_column, so it has no metrics to classify', NEW.table_name),
            HINT = 'Name the metric_column in export_tables, or take the rows out of long_table_data_classifications.';
    END IF;
    IF EXISTS (SELECT FROM export_tables AS listed JOIN column_restrictions AS rule USING (table_name)
               WHERE listed.table_name = NEW.table_name
                 AND (rule.kind = 'metric' AND listed.metric_column IS NULL
                      OR rule.kind = 'source' AND listed.source_column IS NULL)) THEN
        RAISE check_violation USING
            MESSAGE = format('table ''%s'' has no such column, so no metric or source to restrict', NEW.table_name),
            HINT = 'Name the metric_column or source_column in export_tables, or take the rows out of column_restrictions.';
    END IF;
    RETURN NULL;
END $$;

DO $$
DECLARE
    rules text;
BEGIN
    FOREACH rules IN ARRAY ARRAY['export_tables', 'long_table_data_classifications', 'column_restrictions'] LOOP
        EXECUTE format('CREATE CONSTRAINT TRIGGER check_agreement AFTER INSERT OR UPDATE ON %I
                        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_rules_agree()', rules);
    END LOOP;
END $$;
