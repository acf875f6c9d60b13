-- Writes that somebody was let through, if the link still holds in this very moment.
INSERT INTO export_download_audits (tenant, subject, job_id, table_name, object_key, action, kind, grant_id, address,
                                    forwarded_for, user_agent, request_id)
SELECT tenant, subject, job_id, $2, $3, 'redirected', kind, id, $4, $5, $6, $7
FROM export_link_grants
WHERE id = $1 AND revoked_at IS NULL AND expires_at > clock_timestamp()
