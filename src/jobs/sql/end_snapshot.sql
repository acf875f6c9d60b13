-- Nobody holds this snapshot any more; its connection is free.
UPDATE export_snapshots
SET ended_at = clock_timestamp()
WHERE id = $1 AND ended_at IS NULL
