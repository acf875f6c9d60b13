-- What the latest revision of a table came to on each date of a range, with what is needed to look after it: the files that
-- were published, the rows that its policy lets through, and how its time was cut.
-- $1 table, $2 first date, $3 last date, $4 time zone
SELECT calendar.date, clock_timestamp() AS read_at,
       status.job_id, status.revision, status.status, status.row_count, status.manifest_url,
       status.window_start, status.window_end, status.error_code, status.error_message,
       tables.files, tables.plan -> 'policy' -> 'rows' AS rows,
       (SELECT part.scan -> 'slice' FROM export_job_partitions AS part
        WHERE part.job_id = status.job_id AND part.table_name = status.table_name
        ORDER BY part.ordinal
        LIMIT 1) AS slice,
       -- a revision that may put other files in their place any moment
       EXISTS (SELECT 1 FROM export_days AS day
               JOIN export_jobs AS job ON job.id = day.job_id
               LEFT JOIN table_export_job_statuses AS own ON own.job_id = job.id AND own.table_name = $1
               WHERE day.export_date = calendar.date AND job.completed_at IS NULL
                 AND (job.tables IS NULL OR $1 = ANY (job.tables))
                 AND own.completed_at IS NULL) AS being_exported
FROM (SELECT day::date AS date
      FROM generate_series($2::date::timestamp, $3::date::timestamp, interval '1 day') AS day) AS calendar
LEFT JOIN LATERAL (
    SELECT job_id, table_name, revision, status, row_count, manifest_url, window_start, window_end,
           error_code, error_message
    FROM table_export_job_statuses
    WHERE kind = 'scheduled' AND export_date = calendar.date AND table_name = $1
    ORDER BY revision DESC
    LIMIT 1
) AS status ON true
LEFT JOIN export_job_tables AS tables ON tables.job_id = status.job_id AND tables.table_name = status.table_name
WHERE calendar.date::timestamp AT TIME ZONE $4 < (calendar.date + 1)::timestamp AT TIME ZONE $4
ORDER BY calendar.date
