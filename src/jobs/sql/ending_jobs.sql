-- Jobs that are being ended.
SELECT id FROM export_jobs WHERE state = 'CANCELLING' ORDER BY id LIMIT 100
