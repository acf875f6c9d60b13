-- The type of one column when it was classified, or else when it first left.
SELECT sql_type FROM observed_columns WHERE (table_name, column_name) = ($1, $2)
