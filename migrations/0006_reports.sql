-- What was done to the values of each file: findings of personal data removed, actions carried out. Counts by column,
-- never values; summed up in the manifest.
ALTER TABLE export_job_partitions
    ADD COLUMN report jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(report) = 'object');
