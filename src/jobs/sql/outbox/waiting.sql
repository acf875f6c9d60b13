-- How many are not sent.
SELECT (SELECT count(*) FROM export_notifications WHERE sent_at IS NULL AND dead_at IS NULL) AS pending,
       (SELECT count(*) FROM export_notifications WHERE dead_at IS NOT NULL) AS dead
