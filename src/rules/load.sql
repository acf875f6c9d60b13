-- All rules in one statement, and so from one snapshot, with their revision and the database's day.
SELECT jsonb_build_object(
           'export_tables', (SELECT coalesce(jsonb_agg(rule), '[]') FROM export_tables AS rule),
           'data_column_classification', (SELECT coalesce(jsonb_agg(rule), '[]') FROM data_column_classification AS rule),
           'actual_data_classifications', (SELECT coalesce(jsonb_agg(rule), '[]') FROM actual_data_classifications AS rule),
           'long_table_data_classifications', (SELECT coalesce(jsonb_agg(rule), '[]') FROM long_table_data_classifications AS rule),
           'column_restrictions', (SELECT coalesce(jsonb_agg(rule), '[]') FROM column_restrictions AS rule),
           'pii_rules', (SELECT coalesce(jsonb_agg(rule), '[]') FROM pii_rules AS rule)
       ) AS rules,
       (SELECT revision FROM rules_revision) AS revision,
       (clock_timestamp() AT TIME ZONE 'UTC')::date AS today
