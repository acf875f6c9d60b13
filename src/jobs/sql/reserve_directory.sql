-- Reserves a directory for ever. No row: it is taken.
INSERT INTO export_directories (directory, job_id, table_name) VALUES ($1, $2, $3)
ON CONFLICT (directory) DO NOTHING
RETURNING directory
