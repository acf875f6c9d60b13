-- Decides whether a table has files of its own or refers to those of $5, once: who comes later is told what was decided.
-- $1 job, $2 table, $3 epoch, $4 content, $5 the job of the files (or NULL)
UPDATE export_job_tables
SET content_identity = coalesce(content_identity, $4),
    origin_job = CASE WHEN content_identity IS NULL THEN $5 ELSE origin_job END
WHERE job_id = $1 AND table_name = $2 AND lease_epoch = $3 AND state = 'FINALIZING'
RETURNING origin_job
