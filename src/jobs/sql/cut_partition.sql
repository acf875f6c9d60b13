-- Makes a running partition the first piece of what it was, to be claimed again. No attempt. What was expected of it and
-- what was seen of it is shared out among the pieces, so that no progress is lost: they are 1, 2 or 4, and halves of a
-- double are exact. $3 its scan now, $4 pieces, $5 seconds to wait, $6 code and $7 message of what ended it
UPDATE export_job_partitions
SET state = 'PENDING', worker = NULL, lease_until = NULL, connection = NULL, attempts = attempts - 1,
    conflicts = conflicts + 1, scan = $3, weight = weight / $4,
    rows_seen = (rows_seen + $4 - 1) / $4,
    due_at = clock_timestamp() + make_interval(secs => $5), error_code = $6, error_message = $7
WHERE id = $1 AND lease_epoch = $2 AND state = 'RUNNING'
RETURNING job_id, table_name
