-- The tables that the schedule exports, as the rules are now.
SELECT table_name FROM export_tables WHERE enabled AND scheduled ORDER BY table_name
