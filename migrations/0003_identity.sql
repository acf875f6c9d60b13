-- Who may ask, and what administrators did.

-- Of a key only its hash is kept: nobody can read a key out of this table.
CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    prefix       text NOT NULL UNIQUE CHECK (prefix ~ '^[0-9a-f]{12}$'),
    sha256       bytea NOT NULL CHECK (length(sha256) = 32),
    tenant       text NOT NULL DEFAULT 'default' CHECK (tenant ~ '^[A-Za-z0-9_.-]{1,64}$' AND tenant NOT IN ('.', '..')),
    role         text NOT NULL DEFAULT 'requester' CHECK (role IN ('requester', 'admin')),
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    CONSTRAINT expires_after_it_was_made CHECK (expires_at > created_at)
);
CREATE INDEX api_keys_listed ON api_keys (created_at, id);
COMMENT ON TABLE api_keys IS 'Keys of the API: hashes, whose they are, and until when they work.';

CREATE TABLE admin_audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor      text NOT NULL CHECK (actor <> ''),
    tenant     text NOT NULL DEFAULT 'default' CHECK (tenant <> ''),
    origin     text NOT NULL,
    action     text NOT NULL CHECK (action <> ''),
    target     text NOT NULL,
    before     jsonb,
    after      jsonb,
    request_id text
);
CREATE INDEX admin_audit_listed ON admin_audit (tenant, id DESC);
COMMENT ON TABLE admin_audit IS 'What administrators did: who, when, from where, before and after. Rows are added, never changed.';

-- Holds for the service's own role too. The owner of the table can drop a trigger; where that matters, migrate with
-- another role than the one that serves, and give that one INSERT and SELECT.
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only takes new rows', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON admin_audit
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON admin_audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
REVOKE UPDATE, DELETE, TRUNCATE ON admin_audit FROM PUBLIC;
