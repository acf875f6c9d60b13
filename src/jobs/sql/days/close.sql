-- Closes a day. $2 whether every table's latest revision is published
UPDATE export_days SET closed_at = clock_timestamp(), succeeded = $2 WHERE job_id = $1
