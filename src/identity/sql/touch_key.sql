-- Notes a use, unless one was noted within the minute.
UPDATE api_keys
SET last_used_at = clock_timestamp()
WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute')
