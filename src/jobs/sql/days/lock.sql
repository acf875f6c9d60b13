-- Until when a schedule's fires are decided, and now. Locked: who waits here sees what the other has decided.
SELECT decided_until, coalesce($2, clock_timestamp()) AS now FROM export_schedules WHERE schedule = $1 FOR UPDATE
