-- One grant for the links of an answer, and an audit row for each of its files. Who asks again within a minute, from
-- the same place, is given the same grant and no more rows, unless a tenth of the life of its links has passed.
WITH known AS (
    UPDATE export_link_grants
    SET expires_at = CASE kind WHEN 'presigned'
                         THEN greatest(expires_at, clock_timestamp() + make_interval(secs => $6)) ELSE expires_at END
    WHERE revoked_at IS NULL AND id = (
        SELECT id FROM export_link_grants
        WHERE job_id = $2 AND tenant = $3 AND subject = $4 AND kind = $5 AND revoked_at IS NULL
          AND address IS NOT DISTINCT FROM $9
          AND handed_at > clock_timestamp() - interval '1 minute'
          AND expires_at > clock_timestamp() + make_interval(secs => $6 * 0.9)
        ORDER BY handed_at DESC
        LIMIT 1)
    RETURNING id, expires_at
), made AS (
    INSERT INTO export_link_grants (id, job_id, tenant, subject, kind, address, expires_at)
    SELECT $1, $2, $3, $4, $5, $9, clock_timestamp() + make_interval(secs => $6)
    WHERE NOT EXISTS (SELECT FROM known)
    RETURNING id, expires_at
), written AS (
    INSERT INTO export_download_audits (tenant, subject, job_id, table_name, object_key, action, kind, grant_id,
                                        address, forwarded_for, user_agent, request_id)
    SELECT $3, $4, $2, file.table_name, file.object_key, 'handed_out', $5, made.id, $9, $10, $11, $12
    FROM made CROSS JOIN unnest($7::text[], $8::text[]) AS file (table_name, object_key)
)
SELECT id, expires_at FROM known
UNION ALL
SELECT id, expires_at FROM made
