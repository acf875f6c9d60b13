-- Dice that fall the same way each time: a hash of a row's number, so that nothing depends on the order of rows.
-- The schema goes away at the end of the build.

CREATE SCHEMA sample;

-- 64 bits for row n; another salt gives others.
CREATE FUNCTION sample.h(n bigint, salt bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT hashint8extended(n, (:seed)::bigint # (salt * 1000003)) $$;

-- A number in [0, 1).
CREATE FUNCTION sample.u(n bigint, salt bigint) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (sample.h(n, salt) & 1073741823) / 1073741824.0::double precision $$;

-- An integer from 0 up to, not including, below.
CREATE FUNCTION sample.i(n bigint, salt bigint, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (sample.h(n, salt) & 1073741823) % below $$;

CREATE FUNCTION sample.pick(n bigint, salt bigint, among text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT among[1 + sample.i(n, salt, cardinality(among))] $$;

-- How many of the other things there are beside the rows of probe_speed.
CREATE FUNCTION sample.share(divisor bigint, least_of bigint, most_of bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$ SELECT least(most_of, greatest(least_of, (:rows)::bigint / divisor)) $$;

-- The quarters of an hour of both days with their traffic: little at night, two rush hours, later and flatter at
-- the weekend.
CREATE TABLE sample.quarter AS
SELECT extract(epoch FROM start AT TIME ZONE 'UTC')::bigint AS epoch,
       CASE WHEN extract(isodow FROM start) < 6
            THEN ('{10,6,4,4,6,15,35,65,75,55,45,45,50,50,52,60,75,80,65,45,32,25,20,14}'::numeric[])[hour]
            ELSE ('{20,14,9,6,5,6,9,14,22,34,46,54,58,58,56,54,52,50,46,40,34,30,28,24}'::numeric[])[hour]
       END AS weight
FROM generate_series((:last_day)::timestamp - interval '1 day', (:last_day)::timestamp + time '23:45', interval '15 minutes') AS start,
     LATERAL (SELECT 1 + extract(hour FROM start)::int AS hour) AS h;

-- `total` moments over both days by that curve, in order. The first of each quarter is its very beginning, so that
-- there are rows on the bounds of windows.
CREATE FUNCTION sample.moments(total bigint) RETURNS TABLE (n bigint, epoch double precision)
LANGUAGE sql STABLE ROWS 1000000 AS $$
    WITH ranged AS MATERIALIZED (
        SELECT q.epoch,
               round(total * (sum(weight) OVER (ORDER BY q.epoch) - weight) / sum(weight) OVER ())::bigint AS first,
               round(total * sum(weight) OVER (ORDER BY q.epoch) / sum(weight) OVER ())::bigint AS next
        FROM sample.quarter q
        ORDER BY q.epoch
    )
    SELECT g.n,
           r.epoch + CASE WHEN g.n = r.first THEN 0
                          ELSE 900 * (g.n - r.first + 0.98 * sample.u(g.n, 1)) / (r.next - r.first) END
    FROM ranged r, LATERAL generate_series(r.first, r.next - 1) AS g(n)
$$;

CREATE FUNCTION sample.road(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT sample.pick(n, 11, '{Harbour,Mill,Station,Orchard,Linden,Quarry,Lighthouse,Chapel,Foundry,Meadow,Kiln,Juniper,Sandpiper,Observatory,Tannery,Grünwald}')
        || ' ' || sample.pick(n, 12, '{Street,Road,Avenue,Lane,Ring,Quay,Boulevard,Tunnel,Bridge}')
$$;

CREATE FUNCTION sample.person(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT sample.pick(n, 21, '{Ada,Bram,Chiara,Dario,Elif,Femke,Goran,Hana,Ingrid,Jonas,Kaito,Lena,Mirela,Nils,Oona,Zoë}')
        || ' ' || sample.pick(n, 22, '{Almqvist,Brackwater,Castellan,Dunmore,Eberhart,Fennimore,Gullbrand,Hollowell,Ivarsson,Jansma,Kestrel,Löwenthal,Marchetti,Norrington,Oakenfold,Quillfeather}')
$$;

-- Only domains that are kept for examples.
CREATE FUNCTION sample.email(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT sample.pick(n, 31, '{ada,bram,chiara,dario,elif,femke,goran,hana}') || '.'
        || sample.pick(n, 32, '{almqvist,brackwater,castellan,dunmore,eberhart,fennimore}') || sample.i(n, 33, 900)
        || '@' || sample.pick(n, 34, '{example.com,example.org,mail.example.net,traffic.example}')
$$;

-- Only numbers that are kept for fiction.
CREATE FUNCTION sample.phone(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE sample.i(n, 41, 3)
        WHEN 0 THEN '+1 202-555-01' || lpad(sample.i(n, 42, 100)::text, 2, '0')
        WHEN 1 THEN '+44 7700 900' || lpad(sample.i(n, 42, 1000)::text, 3, '0')
        ELSE '+1 (415) 555-01' || lpad(sample.i(n, 42, 100)::text, 2, '0') END
$$;

-- Only addresses that are kept for documentation.
CREATE FUNCTION sample.ip(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT sample.pick(n, 51, '{192.0.2.,198.51.100.,203.0.113.}') || 1 + sample.i(n, 52, 254)
$$;

CREATE FUNCTION sample.plate(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT sample.pick(n, 61, '{EX,XM,ZQ,QX}') || '-' || sample.pick(n, 62, '{AB,KL,TR,VW,ZZ}') || ' '
        || 1000 + sample.i(n, 63, 9000)
$$;

-- Seventeen characters with the right check digit at the ninth place.
CREATE FUNCTION sample.vin(n bigint) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    letters CONSTANT text := '0123456789ABCDEFGHJKLMNPRSTUVWXYZ';
    worth CONSTANT text := '012345678912345678123457923456789';
    weights CONSTANT int[] := '{8,7,6,5,4,3,2,10,0,9,8,7,6,5,4,3,2}';
    vin text := '1EX';
    total int := 0;
BEGIN
    FOR place IN 4..17 LOOP
        vin := vin || substr(letters, 1 + sample.i(n, 70 + place, 33)::int, 1);
    END LOOP;
    FOR place IN 1..17 LOOP
        total := total + weights[place] * substr(worth, strpos(letters, substr(vin, place, 1)), 1)::int;
    END LOOP;
    RETURN overlay(vin PLACING CASE total % 11 WHEN 10 THEN 'X' ELSE (total % 11)::text END FROM 9 FOR 1);
END $$;

-- Sixteen digits that pass Luhn, of a range that is kept for tests.
CREATE FUNCTION sample.card(n bigint) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    body CONSTANT text := '400000' || lpad(sample.i(n, 91, 1000000000)::text, 9, '0');
    total int := 0;
    digit int;
BEGIN
    FOR place IN 1..15 LOOP
        digit := substr(body, place, 1)::int * CASE place % 2 WHEN 1 THEN 2 ELSE 1 END;
        total := total + digit / 10 + digit % 10;
    END LOOP;
    RETURN body || (10 - total % 10) % 10;
END $$;
