-- What is said of a table's columns, by their names; what is not said is left out.
SELECT coalesce(jsonb_object_agg(column_name, jsonb_strip_nulls(to_jsonb(option) - 'table_name' - 'column_name')), '{}')
FROM column_export_options AS option
WHERE table_name = $1
