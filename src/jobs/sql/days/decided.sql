-- Fires up to here are decided.
UPDATE export_schedules SET decided_until = greatest(decided_until, $2) WHERE schedule = $1
