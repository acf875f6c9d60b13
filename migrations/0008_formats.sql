-- The form of files: a request may leave it to each table, and may say how files are compressed.

ALTER TABLE export_jobs
    ALTER COLUMN format DROP NOT NULL,
    ALTER COLUMN format DROP DEFAULT,
    ADD COLUMN compression text CHECK (compression IN ('zstd', 'snappy', 'gzip', 'none')),
    ADD CONSTRAINT compression_of_a_format
        CHECK (compression IS NULL OR (format IS NOT NULL AND (compression <> 'snappy' OR format = 'parquet')));
