-- Records the multipart upload of an attempt before its first part.
UPDATE export_staged_objects SET upload_id = $2 WHERE staging_key = $1 AND removed_at IS NULL RETURNING staging_key
