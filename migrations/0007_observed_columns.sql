-- The type that each column had when it was classified through the service, or else when it first left. A column that has another type since is not what
-- somebody classified: its table fails until somebody looks at it and writes the rule again.

CREATE TABLE observed_columns (
    table_name  text NOT NULL,
    column_name text NOT NULL,
    sql_type    text NOT NULL CHECK (sql_type <> ''),
    observed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (table_name, column_name)
);
COMMENT ON TABLE observed_columns IS 'The type of each column when it was classified, or else when it first left; forgotten when its rule is written again.';

-- Also for a rule that is written as it was: that is how a new type is accepted.
CREATE FUNCTION forget_observed_column() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM observed_columns;
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM observed_columns WHERE (table_name, column_name) = (OLD.table_name, OLD.column_name);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        DELETE FROM observed_columns WHERE (table_name, column_name) = (NEW.table_name, NEW.column_name);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER forget_observed AFTER INSERT OR UPDATE OR DELETE ON data_column_classification
    FOR EACH ROW EXECUTE FUNCTION forget_observed_column();
CREATE TRIGGER forget_all_observed AFTER TRUNCATE ON data_column_classification
    FOR EACH STATEMENT EXECUTE FUNCTION forget_observed_column();
