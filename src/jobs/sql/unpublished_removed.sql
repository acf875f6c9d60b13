-- Notes that nothing of a table that was not published is left under its final names.
UPDATE export_job_tables SET publication = NULL WHERE job_id = $1 AND table_name = $2
