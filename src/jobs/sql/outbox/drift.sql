-- Notes the drift of a table that is told. Nothing is returned when the same was told last.
INSERT INTO export_told_drift AS told (table_name, digest) VALUES ($1, $2)
ON CONFLICT (table_name) DO UPDATE SET digest = excluded.digest, told_at = clock_timestamp()
WHERE told.digest <> excluded.digest
RETURNING 1
