-- Notes that an attempt's object and upload are gone from the store.
UPDATE export_staged_objects SET removed_at = clock_timestamp() WHERE staging_key = $1
