-- Incidents, whose free text holds what people write into free text, and a register of persons.

CREATE TYPE incident_kind AS ENUM ('accident', 'breakdown', 'roadworks', 'closure', 'congestion', 'event');

CREATE TABLE incident (
    incident_id bigint NOT NULL,
    kind incident_kind NOT NULL,
    severity smallint,
    description text,
    reported_by text,
    reported_at timestamptz NOT NULL,
    cleared_at timestamptz,
    details json
);
INSERT INTO incident
SELECT 500000 + n,
       (enum_range(NULL::incident_kind))[1 + sample.i(n, 401, 6)],
       CASE WHEN sample.i(n, 402, 14) > 0 THEN 1 + sample.i(n, 403, 5) END,
       CASE n % 12
            WHEN 0 THEN 'Queue of ' || 1 + sample.i(n, 404, 9) || ' km on ' || road || ', right lane closed.'
            WHEN 1 THEN 'Caller ' || sample.email(n) || ' reports debris on ' || road || '.'
            WHEN 2 THEN 'Please call ' || sample.phone(n) || ' before towing from ' || road || '.'
            WHEN 3 THEN 'Vehicle ' || sample.plate(n) || ', VIN ' || sample.vin(n) || ', left on the hard shoulder.'
            WHEN 4 THEN 'Towing paid with card ' || regexp_replace(sample.card(n), '(.{4})(?=.)', '\1 ', 'g') || '.'
            WHEN 5 THEN 'Camera at http://admin:' || left(md5(sample.h(n, 405)::text), 8) || '@' || sample.ip(n) || '/ shows smoke.'
            WHEN 6 THEN 'Glatteis auf ' || road || ' – Räumfahrzeug unterwegs ❄'
            WHEN 7 THEN sample.person(n) || ' (' || sample.email(n) || ', ' || sample.phone(n) || ') hit a barrier with '
                        || sample.plate(n) || '; VIN ' || sample.vin(n) || '; card ' || sample.card(n)
            WHEN 8 THEN 'Signal fault at ways ' || 7000000000 + sample.i(n, 406, 200) || ' and ' || 7000000000 + sample.i(n, 407, 200)
            WHEN 9 THEN 'Patrol says: "all clear",' || chr(10) || 'lane 2; see log'
            WHEN 10 THEN '' END,
       CASE sample.i(n, 408, 4)
            WHEN 0 THEN sample.email(n + 7)
            WHEN 1 THEN sample.person(n)
            WHEN 2 THEN 'Patrol ' || 1 + sample.i(n, 409, 30) END,
       to_timestamp(epoch),
       CASE WHEN sample.i(n, 410, 5) > 0 THEN to_timestamp(epoch + 300 + 9000 * sample.u(n, 411)) END,
       CASE sample.i(n, 412, 4)
            WHEN 0 THEN NULL
            WHEN 1 THEN json_build_object('lanes_closed', sample.i(n, 413, 4), 'weather', sample.pick(n, 414, '{dry,rain,fog,snow}'))
            WHEN 2 THEN json_build_object('contact', json_build_object('email', sample.email(n), 'phone', sample.phone(n)),
                                          'units', json_build_array(sample.i(n, 415, 30), sample.i(n, 416, 30)))
            ELSE ('{ "source_ip" : "' || sample.ip(n) || '", "speed" : 1.50, "speed" : null }')::json END
FROM sample.moments(sample.share(200, 200, 50000)), LATERAL (SELECT sample.road(n) AS road) AS r;
ALTER TABLE incident ADD PRIMARY KEY (incident_id);
CREATE INDEX ON incident (reported_at);

-- Persons. Nothing of it is ever to be exported.
CREATE TABLE driver_registry (
    driver_id integer NOT NULL,
    full_name text NOT NULL,
    birth_date date,
    email text,
    phone text,
    licence_number varchar(16) NOT NULL,
    address text,
    registered_at timestamptz NOT NULL
);
INSERT INTO driver_registry
SELECT 1 + n, sample.person(n), date '1950-01-01' + sample.i(n, 501, 20000)::int, sample.email(n), sample.phone(n),
       'XL' || lpad(sample.i(n, 502, 100000000)::text, 8, '0'), sample.road(n) || ' ' || 1 + sample.i(n, 503, 180),
       to_timestamp(epoch)
FROM sample.moments(500);
ALTER TABLE driver_registry ADD PRIMARY KEY (driver_id);
CREATE INDEX ON driver_registry (registered_at);
