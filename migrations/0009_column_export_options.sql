-- How single columns are written beyond what leaves: what becomes of values that a file's type does not hold, how long
-- texts may be, how geometry is written. A column without a row is written by the defaults.

CREATE TABLE column_export_options (
    table_name         text NOT NULL CHECK (table_name ~ '^([^.]+[.])?[^.].*$'),
    column_name        text NOT NULL CHECK (column_name <> ''),
    on_unrepresentable text NOT NULL DEFAULT 'error' CHECK (on_unrepresentable IN ('error', 'null', 'clamp', 'text')),
    on_too_long        text CHECK (on_too_long IN ('error', 'null', 'truncate')),
    decimals           smallint CHECK (decimals BETWEEN 0 AND 15),
    geometry           text CHECK (geometry IN ('text', 'wkb', 'polyline')),
    PRIMARY KEY (table_name, column_name),
    CONSTRAINT geometry_is_never_cut
        CHECK (on_too_long IS DISTINCT FROM 'truncate' OR (geometry IS NULL AND decimals IS NULL)),
    CONSTRAINT plain_text_has_no_form
        CHECK (on_unrepresentable <> 'text' OR (geometry IS NULL AND decimals IS NULL)),
    CONSTRAINT bytes_are_no_text
        CHECK (geometry IS DISTINCT FROM 'wkb' OR on_too_long IS NULL)
);
COMMENT ON TABLE column_export_options IS
    'How single columns are written: values that a file cannot hold, texts that are too long, geometry.';

CREATE TRIGGER check_table_name BEFORE INSERT OR UPDATE OF table_name ON column_export_options
    FOR EACH ROW EXECUTE FUNCTION check_rule_table_name();
CREATE TRIGGER record_change AFTER INSERT OR UPDATE OR DELETE ON column_export_options
    FOR EACH ROW EXECUTE FUNCTION record_rule_change();
CREATE TRIGGER record_truncate AFTER TRUNCATE ON column_export_options
    FOR EACH STATEMENT EXECUTE FUNCTION record_rule_change();
