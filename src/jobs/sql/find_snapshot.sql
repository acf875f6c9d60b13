-- The snapshot that is held for a table now.
SELECT id, token
FROM export_snapshots
WHERE job_id = $1 AND table_name = $2 AND ended_at IS NULL AND held_until > clock_timestamp()
