-- That this job is the next revision of a day. No row: somebody else has just started it.
INSERT INTO export_days (job_id, schedule, export_date, revision, time_zone, window_start, window_end)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING
RETURNING revision
