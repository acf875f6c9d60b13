-- Remembers the types of columns that leave, unless a rule was written since they were looked at.
INSERT INTO observed_columns (table_name, column_name, sql_type)
SELECT $1::text, seen.column_name, seen.sql_type
FROM unnest($2::text[], $3::text[]) AS seen (column_name, sql_type)
WHERE (SELECT revision FROM rules_revision) = $4::bigint
ON CONFLICT (table_name, column_name) DO NOTHING
