-- Takes one job to plan: the oldest that waits for a slot its tenant has free, or one whose planner was lost. Jobs on
-- demand come before those of the schedule.
-- $1 worker, $2 lease in seconds, $3 slots of a tenant, $4 only this job (or NULL), $5 lost workers after which it is
-- poison
WITH next AS MATERIALIZED (
    SELECT id, tenant, kind, slot
    FROM export_jobs AS job
    WHERE state IN ('QUEUED', 'PLANNING')
      AND lease_until IS NULL
      AND due_at <= clock_timestamp()
      AND crashes < $5
      AND (paused_until IS NULL OR paused_until <= clock_timestamp())
      AND ($4::uuid IS NULL OR id = $4)
      AND (slot IS NOT NULL OR EXISTS (
            SELECT 1 FROM generate_series(0, $3::int - 1) AS free (slot)
            WHERE NOT EXISTS (SELECT 1 FROM export_jobs AS active
                              WHERE active.tenant = job.tenant AND active.kind = job.kind AND active.slot = free.slot)))
    ORDER BY kind = 'scheduled', queued_at, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE export_jobs AS job
SET state = 'PLANNING',
    slot = coalesce(next.slot, (
        SELECT min(free.slot) FROM generate_series(0, $3::int - 1) AS free (slot)
        WHERE NOT EXISTS (SELECT 1 FROM export_jobs AS active
                          WHERE active.tenant = next.tenant AND active.kind = next.kind AND active.slot = free.slot)))::smallint,
    worker = $1,
    lease_epoch = job.lease_epoch + 1,
    lease_until = clock_timestamp() + make_interval(secs => $2),
    attempts = attempts + 1,
    started_at = coalesce(started_at, clock_timestamp()),
    last_worker = $1,
    heartbeat_at = clock_timestamp(),
    progress_at = clock_timestamp()
FROM next
WHERE job.id = next.id
RETURNING job.id, job.kind, job.tenant, job.window_start, job.window_end, job.tables, job.format, job.compression,
          job.lease_epoch, job.attempts,
          (SELECT day.export_date FROM export_days AS day WHERE day.job_id = job.id) AS export_date,
          (SELECT day.revision FROM export_days AS day WHERE day.job_id = job.id) AS revision
