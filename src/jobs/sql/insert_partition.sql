-- One planned partition. $3 ordinal, $4 scan, $5 weight, $6 place in the fair order
INSERT INTO export_job_partitions (job_id, table_name, ordinal, scan, weight, fair_key)
VALUES ($1, $2, $3, $4, $5, $6)
