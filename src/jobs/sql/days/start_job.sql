-- The job of a day, not before its rows have had time to arrive.
-- $2 who asked, $5 tables (or NULL for all), $6 hash, $7 seconds after the day's end
INSERT INTO export_jobs (id, kind, requested_by, window_start, window_end, tables, body_hash, due_at, submitted_revision)
VALUES ($1, 'scheduled', $2, $3, $4, $5, $6, greatest(clock_timestamp(), $4::timestamptz + make_interval(secs => $7)),
        (SELECT revision FROM rules_revision))
