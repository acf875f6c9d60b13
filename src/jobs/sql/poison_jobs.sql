-- Jobs whose plan has taken so many workers with it. $1 so many
SELECT id FROM export_jobs
WHERE state = 'PLANNING' AND lease_until IS NULL AND crashes >= $1
LIMIT 100
