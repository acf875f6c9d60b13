-- Keeps the text of a manifest that is about to be written, unless one is kept already, and gives what is kept.
UPDATE export_job_tables SET manifest = coalesce(manifest, $4)
WHERE job_id = $1 AND table_name = $2 AND lease_epoch = $3 AND state = 'FINALIZING' AND sealed_at IS NOT NULL
RETURNING manifest
