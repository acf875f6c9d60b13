-- Closes a day, and takes the place of its earlier revisions. $2 whether every table's latest revision is published, $3 seconds
-- until its summary is looked at again
UPDATE export_days AS day
SET closed_at = CASE WHEN day.job_id = $1 THEN clock_timestamp() ELSE day.closed_at END,
    succeeded = CASE WHEN day.job_id = $1 THEN $2 ELSE day.succeeded END,
    check_due_at = CASE WHEN day.job_id = $1 THEN clock_timestamp() + make_interval(secs => $3) END
FROM export_days AS closed
WHERE closed.job_id = $1 AND day.export_date = closed.export_date AND day.revision <= closed.revision
  AND (day.job_id = $1 OR day.check_due_at IS NOT NULL)
