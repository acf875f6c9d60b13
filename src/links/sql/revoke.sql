-- Ends the links of our own that lead to a job's files, and tells what cannot be ended: presigned ones, and those
-- that were signed for somebody who was let through a moment ago.
WITH ended AS (
    UPDATE export_link_grants
    SET revoked_at = clock_timestamp(), revoked_by = $3
    WHERE job_id = $1 AND tenant = $2 AND kind = 'redirect' AND revoked_at IS NULL AND expires_at > clock_timestamp()
    RETURNING revoked_at
)
SELECT (SELECT count(*) FROM ended) AS revoked,
       greatest((SELECT max(revoked_at) FROM ended),
                (SELECT max(revoked_at) FROM export_link_grants WHERE job_id = j.id)) AS revoked_at,
       (SELECT max(expires_at) FROM export_link_grants
        WHERE job_id = j.id AND kind = 'presigned' AND expires_at > clock_timestamp()) AS presigned_until,
       (SELECT max(at) + make_interval(secs => $4) FROM export_download_audits
        WHERE job_id = j.id AND action = 'redirected' AND at > clock_timestamp() - make_interval(secs => $4)) AS redirected_until
FROM export_jobs AS j
WHERE j.id = $1 AND j.tenant = $2
