-- Becomes the holder of a table's snapshot. No row: some partition is read already, so that not all could be read under
-- it, or no connection is free. Of two who begin at once the unique indexes let one through.
-- $1 snapshot, $2 job, $3 table, $4 worker, $5 lease in seconds, $6 connections for holders (NULL: any number)
WITH free AS MATERIALIZED (
    SELECT one.connection
    FROM generate_series(0, $6::int - 1) AS one (connection)
    WHERE NOT EXISTS (SELECT 1 FROM export_snapshots AS held
                      WHERE held.ended_at IS NULL AND held.connection = one.connection)
    ORDER BY random()
    LIMIT 1
)
INSERT INTO export_snapshots (id, job_id, table_name, worker, held_until, connection)
SELECT $1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5), (SELECT free.connection FROM free)
WHERE ($6 IS NULL OR EXISTS (SELECT 1 FROM free))
  AND NOT EXISTS (SELECT 1 FROM export_job_partitions AS done
                  WHERE done.job_id = $2 AND done.table_name = $3 AND done.state = 'COMPLETED')
RETURNING id
