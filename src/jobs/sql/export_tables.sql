-- The tables that a tenant may export at all. Without a tenant column a table is the default tenant's alone.
SELECT table_name, on_demand, scheduled, time_column, format, compression
FROM export_tables
WHERE enabled AND (tenant_column IS NOT NULL OR $1::text = $2::text)
ORDER BY table_name
