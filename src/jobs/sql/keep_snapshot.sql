-- Holds a snapshot on. No row: it was held long enough, or nobody needs it any more.
-- $1 snapshot, $2 lease in seconds, $3 how long a snapshot is held at most, in seconds
UPDATE export_snapshots AS held
SET held_until = clock_timestamp() + make_interval(secs => $2)
WHERE held.id = $1 AND held.ended_at IS NULL AND held.begun_at + make_interval(secs => $3) > clock_timestamp()
  AND EXISTS (SELECT 1 FROM export_jobs AS job WHERE job.id = held.job_id AND job.state = 'RUNNING')
  AND EXISTS (SELECT 1 FROM export_job_partitions AS open
              WHERE open.job_id = held.job_id AND open.table_name = held.table_name
                AND open.state IN ('PENDING', 'RUNNING'))
RETURNING held.id
