-- That the folder of a table whose files are in a hidden one still shows others, or none. Where it shows some, whoever reads
-- them gets the time that a link lives. A table that refers to the files of another day shows none. $3 that time in seconds
INSERT INTO export_day_swaps (job_id, table_name, export_date, revision, folder, due_at)
SELECT day.job_id, tables.table_name, day.export_date, day.revision, tables.plan -> 'day' ->> 'folder',
       clock_timestamp() + make_interval(secs => CASE WHEN EXISTS (
           SELECT 1 FROM table_export_job_statuses AS earlier
           WHERE earlier.kind = 'scheduled' AND earlier.export_date = day.export_date
             AND earlier.table_name = tables.table_name AND earlier.status = 'COMPLETED'
             AND earlier.unchanged_since IS NULL AND earlier.revision < day.revision) THEN $3 ELSE 0 END)
FROM export_days AS day
JOIN export_job_tables AS tables ON tables.job_id = day.job_id AND tables.table_name = $2
WHERE day.job_id = $1 AND tables.directory <> tables.plan -> 'day' ->> 'folder' AND tables.origin_job IS NULL
ON CONFLICT DO NOTHING
