-- Roads, cameras and signs.

CREATE TYPE road_class AS ENUM ('motorway', 'trunk', 'primary', 'secondary', 'residential', 'service');

-- Without a time column: reference data, exported whole.
CREATE TABLE road_class_reference (
    road_class road_class PRIMARY KEY,
    title varchar(40) NOT NULL,
    default_speed smallint,
    toll boolean NOT NULL,
    valid_from date NOT NULL
);
INSERT INTO road_class_reference VALUES
    ('motorway', 'Motorway', 120, true, '2019-01-01'),
    ('trunk', 'Trunk road', 100, false, '2019-01-01'),
    ('primary', 'Primary road', 80, false, '2019-01-01'),
    ('secondary', 'Secondary road', 70, false, '2020-07-01'),
    ('residential', 'Residential street', 30, false, '2022-03-15'),
    ('service', 'Service road', NULL, false, '2022-03-15');

CREATE TABLE way (
    way_id bigint NOT NULL,
    name text,
    ref varchar(12),
    road_class road_class NOT NULL,
    lanes smallint,
    length_m real NOT NULL,
    max_speed numeric(5, 1),
    oneway boolean,
    tags jsonb,
    geometry_wkt text NOT NULL,
    source text,
    updated_at timestamptz NOT NULL
);
INSERT INTO way
SELECT 7000000000 + n,
       CASE WHEN sample.i(n, 101, 20) > 0 THEN sample.road(n) END,
       CASE WHEN sample.i(n, 102, 3) = 0 THEN 'EX ' || 1 + sample.i(n, 103, 420) END,
       (enum_range(NULL::road_class))[1 + sample.i(n, 104, 6)],
       CASE WHEN sample.i(n, 105, 15) > 0 THEN 1 + sample.i(n, 106, 4) END,
       40 + 2400 * sample.u(n, 107),
       CASE WHEN sample.i(n, 108, 12) > 0 THEN 20 + 10 * sample.i(n, 109, 11) + 0.5 * sample.i(n, 110, 2) END,
       CASE WHEN sample.i(n, 111, 25) > 0 THEN sample.i(n, 112, 3) = 0 END,
       CASE WHEN sample.i(n, 113, 10) > 0
            THEN jsonb_build_object('surface', sample.pick(n, 114, '{asphalt,concrete,gravel}'),
                                    'lit', sample.i(n, 115, 2) = 0, 'layer', sample.i(n, 116, 3) - 1,
                                    'note', CASE WHEN sample.i(n, 117, 50) = 0
                                                 THEN 'surveyed by ' || sample.email(n) END) END,
       line.wkt,
       sample.pick(n, 118, '{FUSION,FUSION,HERE,TOMTOM}'),
       to_timestamp(epoch)
FROM sample.moments(sample.share(100, 200, 20000)),
     LATERAL (
         SELECT 'LINESTRING(' || string_agg(
                    round((0.1 + 0.5 * sample.u(n, 120) + 0.0004 * p + 0.0002 * sample.u(n * 16 + p, 121))::numeric, 7)
                    || ' '
                    || round((0.1 + 0.4 * sample.u(n, 122) + 0.0003 * sample.u(n * 16 + p, 123))::numeric, 7),
                    ', ' ORDER BY p) || ')' AS wkt
         FROM generate_series(0, 1 + sample.i(n, 124, 12)) AS p
     ) AS line;
ALTER TABLE way ADD PRIMARY KEY (way_id);
CREATE INDEX ON way (updated_at);

-- The stream's address carries a user and a password, as such addresses do.
CREATE TABLE cctv (
    camera_id uuid NOT NULL,
    name varchar(80) NOT NULL,
    stream_url text,
    lon double precision,
    lat double precision,
    installed date,
    snapshot bytea,
    capabilities jsonb,
    seen_at timestamptz NOT NULL
);
INSERT INTO cctv
SELECT md5('camera ' || sample.h(n, 200))::uuid,
       'CAM-' || lpad(n::text, 4, '0') || ' ' || sample.road(n),
       CASE WHEN sample.i(n, 201, 30) > 0
            THEN 'rtsp://operator:' || left(md5(sample.h(n, 202)::text), 12) || '@' || sample.ip(n) || ':554/live/' || n END,
       CASE WHEN sample.i(n, 203, 40) > 0 THEN round((0.1 + 0.5 * sample.u(n, 204))::numeric, 6) END,
       CASE WHEN sample.i(n, 203, 40) > 0 THEN round((0.1 + 0.4 * sample.u(n, 205))::numeric, 6) END,
       CASE WHEN sample.i(n, 206, 10) > 0 THEN date '2012-01-01' + sample.i(n, 207, 4700)::int END,
       CASE sample.i(n, 208, 12)
            WHEN 0 THEN NULL
            WHEN 1 THEN ''::bytea
            ELSE '\xffd8ffe000'::bytea || decode(repeat(md5(sample.h(n, 209)::text), 1 + sample.i(n, 210, 8)::int), 'hex')
       END,
       CASE WHEN sample.i(n, 211, 15) > 0
            THEN jsonb_build_object('ptz', sample.i(n, 212, 2) = 0, 'fps', 5 * (1 + sample.i(n, 213, 6)),
                                    'codecs', CASE WHEN sample.i(n, 214, 2) = 0 THEN '["h264"]'::jsonb
                                                   ELSE '["h264", "h265"]' END) END,
       to_timestamp(epoch)
FROM sample.moments(sample.share(200, 120, 2000));
ALTER TABLE cctv ADD PRIMARY KEY (camera_id);
CREATE INDEX ON cctv (seen_at);

CREATE TABLE vms (
    vms_id text NOT NULL,
    message text,
    lines smallint NOT NULL,
    luminance integer,
    layout json,
    pictogram bytea,
    shown_at timestamptz NOT NULL,
    operator text
);
INSERT INTO vms
SELECT 'VMS-' || lpad(sample.i(n, 301, 180)::text, 3, '0'),
       CASE sample.i(n, 302, 8)
            WHEN 0 THEN NULL
            WHEN 1 THEN 'QUEUE AHEAD' || chr(10) || 'SLOW DOWN'
            WHEN 2 THEN 'ROADWORKS ' || 1 + sample.i(n, 303, 9) || ' KM'
            WHEN 3 THEN 'LANE CLOSED' || chr(10) || 'USE LEFT LANE'
            WHEN 4 THEN upper(sample.road(n)) || chr(10) || 5 + sample.i(n, 304, 40) || ' MIN'
            WHEN 5 THEN 'BRIDGE OPEN "WAIT", ' || 3 + sample.i(n, 305, 9) || ' MIN'
            WHEN 6 THEN 'GLÄTTE · VORSICHT'
            ELSE (60 + 10 * sample.i(n, 306, 7))::text END,
       1 + sample.i(n, 307, 3),
       CASE WHEN sample.i(n, 308, 9) > 0 THEN sample.i(n, 309, 100000) END,
       CASE sample.i(n, 311, 5)
            WHEN 0 THEN NULL
            WHEN 1 THEN '{ "font" : "A12",  "blink" : null, "rows" : [1, 2.50, 3e2] }'::json
            ELSE json_build_object('font', sample.pick(n, 312, '{A12,B16,Ü8}'), 'blink', sample.i(n, 313, 2) = 0) END,
       CASE sample.i(n, 314, 6)
            WHEN 0 THEN NULL
            WHEN 1 THEN ''::bytea
            ELSE decode(repeat(left(md5(sample.h(n, 315)::text), 8), 1 + sample.i(n, 316, 6)::int), 'hex') END,
       to_timestamp(epoch),
       CASE WHEN sample.i(n, 310, 4) > 0 THEN sample.person(n) END
FROM sample.moments(sample.share(100, 200, 50000));
CREATE INDEX ON vms (shown_at);
