-- Writes an event down to be sent. $2 what it is told once by (or NULL)
INSERT INTO export_notifications
    (event_id, once, event_type, status, schedule, export_date, revision, job_id, table_name, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (once) DO NOTHING
