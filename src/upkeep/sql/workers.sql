-- Workers that hold a lease now.
SELECT count(DISTINCT worker) FROM (
    SELECT worker FROM export_job_partitions WHERE state = 'RUNNING' AND lease_until > clock_timestamp()
    UNION ALL
    SELECT worker FROM export_job_tables WHERE state = 'FINALIZING' AND lease_until > clock_timestamp()
    UNION ALL
    SELECT worker FROM export_jobs WHERE state = 'PLANNING' AND lease_until > clock_timestamp()
) AS held
