-- The file that a link of a grant leads to, by the first half of the hash of its key, and whether it still does.
SELECT g.id AS grant_id, g.job_id, t.table_name, file ->> 'key' AS object_key,
       g.revoked_at IS NOT NULL AS revoked,
       least(g.expires_at, $3) <= clock_timestamp() OR j.state = 'EXPIRED' AS expired,
       extract(epoch FROM least(g.expires_at, $3) - clock_timestamp())::float8 AS seconds_left
FROM export_link_grants AS g
JOIN export_jobs AS j ON j.id = g.job_id AND j.tenant = g.tenant
JOIN export_job_tables AS t ON t.job_id = g.job_id AND t.state = 'COMPLETED'
CROSS JOIN jsonb_array_elements(t.files) AS file
WHERE g.id = $1 AND g.kind = 'redirect' AND substring(sha256(convert_to(file ->> 'key', 'UTF8')) FROM 1 FOR 16) = $2
