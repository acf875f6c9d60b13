-- The tables that are offered on demand to a tenant, and whether each can be cut by time.
SELECT table_name, time_column IS NOT NULL AS has_time
FROM export_tables
WHERE enabled AND on_demand AND (tenant_column IS NOT NULL OR $1::text = $2::text)
