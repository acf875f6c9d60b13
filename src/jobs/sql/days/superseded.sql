-- What was published of a table of this job's day before, the last of it.
SELECT earlier.job_id, earlier.revision, earlier.row_count, earlier.byte_count
FROM export_days AS day
JOIN table_export_job_statuses AS earlier
  ON earlier.kind = 'scheduled' AND earlier.export_date = day.export_date AND earlier.table_name = $2
 AND earlier.status = 'COMPLETED' AND earlier.revision < day.revision
WHERE day.job_id = $1
ORDER BY earlier.revision DESC
LIMIT 1
