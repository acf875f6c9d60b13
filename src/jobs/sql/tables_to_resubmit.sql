-- The tables that a job was to export: those that it named, else those that it had planned; none before it was planned.
SELECT coalesce(job.tables, ARRAY(SELECT t.table_name FROM export_job_tables AS t
                                  WHERE t.job_id = job.id AND t.state <> 'SKIPPED' ORDER BY t.table_name))
FROM export_jobs AS job
WHERE job.id = $1
