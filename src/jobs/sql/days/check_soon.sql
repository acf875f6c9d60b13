-- That the folder of a date is compared with what is known of it at once.
UPDATE export_days SET check_due_at = clock_timestamp() WHERE export_date = $1 AND check_due_at IS NOT NULL
