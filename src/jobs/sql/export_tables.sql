-- The tables that may be exported at all.
SELECT table_name, on_demand, scheduled, time_column, format
FROM export_tables
WHERE enabled
ORDER BY table_name
