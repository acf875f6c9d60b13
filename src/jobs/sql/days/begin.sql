-- A schedule that has never fired begins now.
INSERT INTO export_schedules (schedule, decided_until) VALUES ($1, coalesce($2, clock_timestamp()))
ON CONFLICT (schedule) DO NOTHING
