-- What retention would do now: jobs that would expire, and expired ones whose files are still there.
-- $1 seconds that files are kept
SELECT job.id, job.tenant, job.state, job.completed_at,
       array_agg(t.table_name ORDER BY t.table_name) AS tables,
       coalesce(sum(jsonb_array_length(t.files)), 0)::bigint AS files,
       coalesce(sum((SELECT sum((file ->> 'bytes')::bigint) FROM jsonb_array_elements(t.files) AS file)), 0)::bigint AS bytes,
       (SELECT max(g.expires_at) FROM export_link_grants AS g
        WHERE g.job_id = job.id AND g.kind = 'presigned' AND g.expires_at > clock_timestamp()) AS linked_until
FROM export_jobs AS job
JOIN export_job_tables AS t ON t.job_id = job.id AND t.state = 'COMPLETED' AND t.purged_at IS NULL
WHERE job.kind = 'on_demand' AND job.purged_at IS NULL
  AND (job.state = 'EXPIRED'
       OR (job.state IN ('COMPLETED', 'FAILED', 'CANCELLED')
           AND job.completed_at <= clock_timestamp() - make_interval(secs => $1)))
GROUP BY job.id
ORDER BY job.completed_at, job.id
LIMIT 10000
