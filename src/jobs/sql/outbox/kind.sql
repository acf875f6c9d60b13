-- What kind of job it is, and whose.
SELECT kind, tenant FROM export_jobs WHERE id = $1
