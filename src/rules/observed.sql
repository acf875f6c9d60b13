-- The types that columns had when they first left.
SELECT table_name, column_name, sql_type FROM observed_columns
