-- Invented rows of one day, known by heart to the oracle, and a table that nobody reads and lives.
CREATE TABLE reading_a (id bigint, at timestamptz, a bigint, b bigint, c double precision);
INSERT INTO reading_a
SELECT i, timestamptz '2026-03-02T00:00Z' + i * interval '1 day' / 15000, hashint8extended(i, 1), hashint8extended(i, 2),
       hashint8extended(i, 3) / 7.0
FROM generate_series(0, 14999) AS i;
CREATE INDEX ON reading_a (at);
CREATE TABLE reading_b AS SELECT id, at, a # 1 AS a, b, c FROM reading_a;
CREATE INDEX ON reading_b (at);
CREATE TABLE reading_c AS SELECT id, at, a # 2 AS a, b, c FROM reading_a WHERE id < 9000;
CREATE INDEX ON reading_c (at);
-- Whoever reads it waits long enough to be found and killed.
CREATE FUNCTION linger() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT pg_sleep(120) IS NOT NULL';
CREATE VIEW poison AS SELECT id, at, a FROM reading_a WHERE (SELECT linger());
ANALYZE;
