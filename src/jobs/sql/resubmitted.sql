-- The job that has taken the place of a cleared one.
SELECT id FROM export_jobs WHERE resubmit_of = $1
