-- Lets one of several submissions that could join each other or use one key go first, until the end of the transaction.
-- $1 tenant, $2 key (or NULL), $3 hash of the body
SELECT pg_advisory_xact_lock(hashtextextended('key ' || $1::text || ' ' || coalesce($2::text, encode($3::bytea, 'hex')), 0)),
       pg_advisory_xact_lock(hashtextextended('body ' || $1::text || ' ' || encode($3::bytea, 'hex'), 0))
