-- The tables that a day lacks: those that the schedule exported by the rules of its last plan, and that no run of it has had.
-- A day that was planned as a whole lacks none: what was enabled later does not belong to it. $1 date, $2 up to this revision
SELECT listed.table_name
FROM (SELECT job.rules_revision
      FROM export_days AS day
      JOIN export_jobs AS job ON job.id = day.job_id AND job.rules_revision IS NOT NULL
      WHERE day.export_date = $1 AND day.revision <= $2
      ORDER BY day.revision DESC
      LIMIT 1) AS planned
JOIN rules_snapshots AS kept ON kept.revision = planned.rules_revision,
     jsonb_populate_recordset(NULL::export_tables, kept.rules -> 'export_tables') AS listed
WHERE listed.enabled AND listed.scheduled
  AND NOT EXISTS (SELECT 1 FROM export_days AS earlier
                  JOIN export_jobs AS asked ON asked.id = earlier.job_id
                  WHERE earlier.export_date = $1 AND earlier.revision <= $2
                    AND asked.tables IS NULL AND asked.rules_revision IS NOT NULL)
  AND NOT EXISTS (SELECT 1 FROM table_export_job_statuses AS status
                  WHERE status.kind = 'scheduled' AND status.export_date = $1 AND status.revision <= $2
                    AND status.table_name = listed.table_name)
ORDER BY listed.table_name
