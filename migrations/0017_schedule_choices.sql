-- What data owners decide of a table for the schedule: when one without a time column is exported, and whose rows leave of
-- one that several tenants share. Nothing is decided by default; what NULL means is said by the columns.

ALTER TABLE export_tables
    ADD COLUMN whole_export text CHECK (whole_export IN ('always', 'when_changed')),
    ADD COLUMN scheduled_tenants text CHECK (scheduled_tenants IN ('default', 'all')),
    ADD CONSTRAINT whole_export_without_time CHECK (whole_export IS NULL OR time_column IS NULL),
    ADD CONSTRAINT scheduled_tenants_of_a_column CHECK (scheduled_tenants IS NULL OR tenant_column IS NOT NULL);
COMMENT ON COLUMN export_tables.whole_export IS
    'When the schedule exports a table without a time column: every day (always, NULL), or when its content has changed.';
COMMENT ON COLUMN export_tables.scheduled_tenants IS
    'Whose rows the schedule takes of a table with a tenant column. NULL: nobody has decided, and the table fails.';

-- The content of what a table's finalizer found staged, and where it has been published already. Both are decided once: a
-- finalizer that repeats another's work lists the same files.
ALTER TABLE export_job_tables
    ADD COLUMN content_identity text CHECK (content_identity ~ '^[0-9a-f]{64}$'),
    ADD COLUMN origin_job uuid,
    ADD CONSTRAINT origin_is_of_a_content CHECK (origin_job IS NULL OR content_identity IS NOT NULL);
COMMENT ON COLUMN export_job_tables.origin_job IS
    'The job whose files this table refers to, since its content has not changed since then; NULL: it has files of its own.';

ALTER TABLE table_export_job_statuses ADD COLUMN unchanged_since date;
COMMENT ON COLUMN table_export_job_statuses.unchanged_since IS
    'The day whose files the manifest lists, since the table has not changed since then; NULL: it has files of its own.';
