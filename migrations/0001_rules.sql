-- The rules: which tables may leave, and what their columns, sources and metrics are.
-- The same rules hold for rows written by hand as for rows applied from files: CHECKs for what one row can break,
-- triggers for the audit and the revision.

CREATE TABLE export_tables (
    table_name    text PRIMARY KEY CHECK (table_name ~ '^([^.]+[.])?[^.].*$'),
    enabled       boolean NOT NULL DEFAULT true,
    on_demand     boolean NOT NULL DEFAULT true,
    scheduled     boolean NOT NULL DEFAULT true,
    time_column   text CHECK (time_column <> ''),
    time_unit     text NOT NULL DEFAULT 'timestamp' CHECK (time_unit IN ('timestamp', 'date', 'epoch_s', 'epoch_ms')),
    time_zone     text NOT NULL DEFAULT 'UTC' CHECK (time_zone <> ''),
    source_column text CHECK (source_column <> ''),
    metric_column text CHECK (metric_column <> ''),
    value_column  text CHECK (value_column <> ''),
    tenant_column text CHECK (tenant_column <> ''),
    denied_cell   text NOT NULL DEFAULT 'drop_row' CHECK (denied_cell IN ('drop_row', 'null_cell')),
    strict        boolean NOT NULL DEFAULT false,
    format        text CHECK (format IN ('parquet', 'csv', 'jsonl')),
    type_profile  text CHECK (type_profile IN ('portable', 'native')),
    CONSTRAINT metric_and_value_together CHECK ((metric_column IS NULL) = (value_column IS NULL))
);
COMMENT ON TABLE export_tables IS 'Tables of the warehouse that may be exported. Absent or disabled: refused.';

CREATE TABLE data_column_classification (
    table_name        text NOT NULL,
    column_name       text NOT NULL CHECK (column_name <> ''),
    classification    text NOT NULL DEFAULT 'de' CHECK (classification IN ('nr', 'mx', 'de', 'hwc')),
    pii_exempt_by     text CHECK (pii_exempt_by <> ''),
    pii_exempt_reason text CHECK (pii_exempt_reason <> ''),
    pii_exempt_until  date,
    PRIMARY KEY (table_name, column_name),
    CONSTRAINT exemption_whole_or_none
        CHECK (num_nulls(pii_exempt_by, pii_exempt_reason, pii_exempt_until) IN (0, 3))
);
COMMENT ON TABLE data_column_classification IS 'What each column is. A column without a row does not leave.';

CREATE TABLE actual_data_classifications (
    source         text PRIMARY KEY CHECK (source <> ''),
    classification text NOT NULL DEFAULT 'de' CHECK (classification IN ('nr', 'mx', 'de', 'hwc'))
);
COMMENT ON TABLE actual_data_classifications IS 'What each source of data is, asked where a column or metric is mx.';

CREATE TABLE long_table_data_classifications (
    table_name     text NOT NULL,
    metric_name    text NOT NULL CHECK (metric_name <> ''),
    classification text NOT NULL DEFAULT 'de' CHECK (classification IN ('nr', 'mx', 'de', 'hwc')),
    PRIMARY KEY (table_name, metric_name)
);
COMMENT ON TABLE long_table_data_classifications IS 'What each metric of a long table is. A metric without a row does not leave.';

CREATE TABLE column_restrictions (
    table_name text NOT NULL,
    kind       text NOT NULL DEFAULT 'column' CHECK (kind IN ('column', 'metric', 'source')),
    name       text NOT NULL CHECK (name <> ''),
    action     text NOT NULL DEFAULT 'drop'
               CHECK (action IN ('drop', 'null', 'redact', 'mask_last4', 'pseudonym', 'generalise', 'truncate')),
    params     jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(params) = 'object'),
    owner      text,
    reason     text,
    expires_at date,
    PRIMARY KEY (table_name, kind, name)
);
COMMENT ON TABLE column_restrictions IS 'What hwc means for a column, metric or source.';

-- One row: how often the rules have changed. A job keeps the revision that it was planned with.
CREATE TABLE rules_revision (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint NOT NULL
);
INSERT INTO rules_revision (revision) VALUES (0);

CREATE TABLE rules_audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor      text NOT NULL,
    revision   bigint NOT NULL,
    rule_table text NOT NULL,
    operation  text NOT NULL,
    before     jsonb,
    after      jsonb
);
COMMENT ON TABLE rules_audit IS 'Every change of a rule: who, when, before and after.';

-- The revision counts transactions, not rows: readers compare it for equality only.
CREATE FUNCTION record_rule_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    now_at bigint;
BEGIN
    IF current_setting('exporter.rules_bumped', true) IS DISTINCT FROM pg_current_xact_id()::text THEN
        UPDATE rules_revision SET revision = revision + 1;
        PERFORM set_config('exporter.rules_bumped', pg_current_xact_id()::text, true);
    END IF;
    SELECT revision INTO now_at FROM rules_revision;
    IF TG_LEVEL = 'ROW' THEN
        INSERT INTO rules_audit (actor, revision, rule_table, operation, before, after)
        VALUES (coalesce(nullif(current_setting('exporter.actor', true), ''), session_user), now_at, TG_TABLE_NAME, TG_OP,
                CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
                CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
    ELSE
        INSERT INTO rules_audit (actor, revision, rule_table, operation)
        VALUES (coalesce(nullif(current_setting('exporter.actor', true), ''), session_user), now_at, TG_TABLE_NAME, TG_OP);
    END IF;
    RETURN NULL;
END $$;

DO $$
DECLARE
    rules text;
BEGIN
    FOREACH rules IN ARRAY ARRAY['export_tables', 'data_column_classification', 'actual_data_classifications',
                                 'long_table_data_classifications', 'column_restrictions'] LOOP
        EXECUTE format('CREATE TRIGGER record_change AFTER INSERT OR UPDATE OR DELETE ON %I
                        FOR EACH ROW EXECUTE FUNCTION record_rule_change()', rules);
        EXECUTE format('CREATE TRIGGER record_truncate AFTER TRUNCATE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION record_rule_change()', rules);
    END LOOP;
END $$;
