-- Links: who was given which, who came with one, and what can be taken back.

-- Every link of one answer to one requester. A link of our own names its grant, so that ending the grant ends it; a
-- presigned link knows nothing of us, and its grant only remembers until when it works.
CREATE TABLE export_link_grants (
    id         uuid PRIMARY KEY,
    job_id     uuid NOT NULL REFERENCES export_jobs ON DELETE CASCADE,
    tenant     text NOT NULL CHECK (tenant <> ''),
    subject    text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('presigned', 'redirect')),
    address    text,
    handed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_by text,
    CONSTRAINT revoked_by_somebody CHECK ((revoked_at IS NULL) = (revoked_by IS NULL)),
    CONSTRAINT presigned_cannot_be_revoked CHECK (kind = 'redirect' OR revoked_at IS NULL)
);
CREATE INDEX export_link_grants_of_job ON export_link_grants (job_id, handed_at DESC);

-- What links of our own are signed with. It is here because every replica needs the same one, and because whoever can
-- write here could make a grant anyway. Deleting the row ends all of them within a minute; a new key is made at need.
CREATE TABLE export_link_key (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    secret  bytea NOT NULL CHECK (length(secret) = 32),
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- No reference to the job: what was downloaded is known after the job is gone.
CREATE TABLE export_download_audits (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    tenant        text NOT NULL,
    subject       text NOT NULL,
    job_id        uuid NOT NULL,
    table_name    text NOT NULL,
    object_key    text NOT NULL,
    action        text NOT NULL CHECK (action IN ('handed_out', 'redirected', 'refused')),
    reason        text CHECK ((reason IS NOT NULL) = (action = 'refused')),
    kind          text NOT NULL CHECK (kind IN ('presigned', 'redirect')),
    grant_id      uuid NOT NULL,
    address       text,
    forwarded_for text,
    user_agent    text,
    request_id    text NOT NULL
);
COMMENT ON TABLE export_download_audits IS 'Every link that was handed out, followed or refused: who, which file, from where, when.';
COMMENT ON COLUMN export_download_audits.subject IS 'To whom the link was handed out; whoever follows it shows nothing but the link.';
COMMENT ON COLUMN export_download_audits.address IS 'The other end of the connection: behind a proxy, the proxy.';
COMMENT ON COLUMN export_download_audits.forwarded_for IS 'X-Forwarded-For as it came. Anybody can write anything there.';
CREATE INDEX export_download_audits_listed ON export_download_audits (tenant, at DESC, id DESC);
CREATE INDEX export_download_audits_of_job ON export_download_audits (job_id, at DESC);

CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON export_download_audits
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit();
