-- Writes that somebody was turned away; once a minute for a link and an address, as the refused may try for ever.
INSERT INTO export_download_audits (tenant, subject, job_id, table_name, object_key, action, reason, kind, grant_id,
                                    address, forwarded_for, user_agent, request_id)
SELECT tenant, subject, job_id, $2, $3, 'refused', $8, kind, id, $4, $5, $6, $7
FROM export_link_grants AS g
WHERE id = $1 AND NOT EXISTS (
    SELECT FROM export_download_audits AS a
    WHERE a.job_id = g.job_id AND a.at > clock_timestamp() - interval '1 minute' AND a.action = 'refused'
      AND a.grant_id = g.id AND a.object_key = $3 AND a.address IS NOT DISTINCT FROM $4 AND a.reason = $8)
