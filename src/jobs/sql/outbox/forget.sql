-- Forgets what was sent so many seconds ago, a bounded number at a time.
DELETE FROM export_notifications
WHERE event_id IN (
    SELECT event_id FROM export_notifications
    WHERE sent_at < clock_timestamp() - make_interval(secs => $1)
    LIMIT 1000
)
