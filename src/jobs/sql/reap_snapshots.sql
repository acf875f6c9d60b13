-- Ends the snapshots whose holder is gone.
UPDATE export_snapshots
SET ended_at = clock_timestamp()
WHERE ended_at IS NULL AND held_until <= clock_timestamp()
