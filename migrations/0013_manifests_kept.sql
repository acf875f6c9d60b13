-- The text of a manifest from just before it is written until its table is published. A finalizer that repeats another's
-- work writes that one's text, though it may be of another version or have other settings.
ALTER TABLE export_job_tables ADD COLUMN manifest text;
COMMENT ON COLUMN export_job_tables.manifest IS 'What is about to be written as manifest; NULL once the table is published.';

COMMENT ON COLUMN export_download_audits.address IS
    'The client: the other end of the connection, or, where that is a proxy of EXPORTER_TRUSTED_PROXIES, whom the proxies name.';
