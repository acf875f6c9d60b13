-- Tenants with work: slots that are taken, and requests that wait.
SELECT tenant, count(*) FILTER (WHERE slot IS NOT NULL) AS active, count(*) FILTER (WHERE state = 'QUEUED') AS waiting
FROM export_jobs
WHERE kind = 'on_demand' AND (slot IS NOT NULL OR state = 'QUEUED')
GROUP BY tenant
ORDER BY waiting DESC, tenant
LIMIT 100
