-- The end of a job that is being ended, when no table of it is open. When nothing was left to end, everything has been
-- published or has failed by itself: that is for settle_job to say, and the job goes back to where it reads it.
UPDATE export_jobs AS job
SET state = CASE WHEN tables.ended = 0 THEN 'FINALIZING' WHEN job.error_code = 'CANCELLED' THEN 'CANCELLED' ELSE 'FAILED' END,
    slot = CASE WHEN tables.ended = 0 THEN job.slot END,
    completed_at = CASE WHEN tables.ended > 0 THEN clock_timestamp() END,
    error_code = CASE WHEN tables.ended > 0 THEN job.error_code END,
    error_message = CASE WHEN tables.ended > 0 THEN job.error_message END
FROM (
    SELECT count(*) FILTER (WHERE t.state IN ('EXTRACTING', 'READY', 'FINALIZING')) AS open,
           count(*) FILTER (WHERE t.state = 'FAILED' AND t.error_code = j.error_code) AS ended
    FROM export_jobs AS j LEFT JOIN export_job_tables AS t ON t.job_id = j.id
    WHERE j.id = $1
) AS tables
WHERE job.id = $1 AND job.state = 'CANCELLING' AND tables.open = 0
RETURNING job.state
