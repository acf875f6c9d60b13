-- One planned table. $3 state, $4 directory, $5 plan, $6 partitions, $7 code, $8 message
INSERT INTO export_job_tables (job_id, table_name, state, directory, plan, partitions_total, error_code, error_message)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
