-- How a table's files are compressed, where a request leaves it open. Snappy is for Parquet, which a table without a
-- format has.

ALTER TABLE export_tables
    ADD COLUMN compression text CHECK (compression IN ('zstd', 'snappy', 'gzip', 'none')),
    ADD CONSTRAINT compression_of_the_format CHECK (compression <> 'snappy' OR coalesce(format, 'parquet') = 'parquet');
