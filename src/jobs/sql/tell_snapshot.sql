-- Says what others import a snapshot by. No row: the holder came too late.
UPDATE export_snapshots
SET token = $2
WHERE id = $1 AND ended_at IS NULL AND held_until > clock_timestamp()
RETURNING id
