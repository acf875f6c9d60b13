-- Where a new job's partitions begin in the fair order: behind what its tenant has pending, and not before what is
-- being served now, so that a tenant that was quiet does not get its silence back. The schedule has an order of its own.
-- $2 whether it is a job of the schedule
SELECT greatest(
    coalesce((SELECT min(fair_key) FROM export_job_partitions WHERE state = 'PENDING' AND scheduled = $2), 0),
    coalesce((SELECT max(fair_key) + 1 FROM export_job_partitions AS partition
              JOIN export_jobs AS job ON job.id = partition.job_id
              WHERE partition.state = 'PENDING' AND scheduled = $2 AND job.tenant = $1), 0),
    coalesce((SELECT max(fair_key) FROM export_job_partitions WHERE state = 'RUNNING' AND scheduled = $2), 0))
