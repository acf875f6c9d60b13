-- Starts the range of a cleared job again: what was asked for is the same, by whom is new. $1 new id, $2 old id, $3 who
INSERT INTO export_jobs
    (id, kind, tenant, requested_by, window_start, window_end, tables, format, compression, body_hash,
     submitted_revision, resubmit_of)
SELECT $1, old.kind, old.tenant, $3, old.window_start, old.window_end, old.tables, old.format, old.compression,
       old.body_hash, (SELECT revision FROM rules_revision), old.id
FROM export_jobs AS old
WHERE old.id = $2
RETURNING id
