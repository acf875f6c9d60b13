-- What vehicles and sensors measure: the large tables.

-- Besides the three sources of the rules, a few rows have none, or one that nobody has classified yet.
CREATE TABLE probe_speed (
    id bigint NOT NULL,
    ts timestamptz NOT NULL,
    way_id bigint NOT NULL,
    source text,
    speed_kmh double precision,
    heading real,
    lon double precision,
    lat double precision,
    vehicle_id uuid,
    trip_id text
);
INSERT INTO probe_speed
SELECT 10000000000 + n,
       to_timestamp(epoch),
       7000000000 + (a & 65535) % (SELECT count(*) FROM way),
       CASE WHEN (a >> 16) & 1023 < 5 THEN NULL
            WHEN (a >> 16) & 1023 < 10 THEN 'PILOT'
            WHEN (a >> 16) & 1023 < 600 THEN 'FUSION'
            WHEN (a >> 16) & 1023 < 850 THEN 'HERE'
            ELSE 'TOMTOM' END,
       CASE WHEN (a >> 26) & 63 > 0 THEN 4 + ((a >> 32) & 16383) / 128.0::double precision END,
       CASE WHEN (b & 127) > 0 THEN ((b >> 7) & 4095) / 11.375::double precision END,
       0.1 + ((b >> 19) & 1048575) / 2000000.0::double precision,
       0.1 + ((b >> 39) & 1048575) / 2500000.0::double precision,
       fleet.ids[1 + vehicle],
       'T' || vehicle || '-' || epoch::bigint / 3600
FROM sample.moments(:rows),
     LATERAL (SELECT sample.h(n, 601) AS a, sample.h(n, 602) AS b, sample.i(n, 603, sample.share(50, 50, 20000)) AS vehicle
              OFFSET 0) AS dice,
     (SELECT array_agg(md5('vehicle ' || sample.h(v, 604))::uuid ORDER BY v) AS ids
      FROM generate_series(0, sample.share(50, 50, 20000) - 1) AS v) AS fleet;
ALTER TABLE probe_speed ADD PRIMARY KEY (id);
CREATE INDEX ON probe_speed (ts);

-- Its time has no zone: it is UTC by agreement, as the rules say.
CREATE TABLE travel_time (
    segment_id integer NOT NULL,
    measured_at timestamp NOT NULL,
    travel_time_s numeric(10, 3),
    free_flow_s numeric(10, 3) NOT NULL,
    confidence real,
    source text,
    day date NOT NULL,
    "at" time NOT NULL
);
INSERT INTO travel_time
SELECT 1 + a % 5000,
       t,
       CASE WHEN (a >> 16) & 63 > 0 THEN free_flow * (1 + ((b >> 10) & 1023) / 1000.0) END,
       free_flow,
       CASE WHEN b & 31 > 0 THEN ((b >> 20) & 255) / 255.0 END,
       CASE WHEN (a >> 13) & 127 > 0 THEN (ARRAY['FUSION', 'FUSION', 'HERE', 'TOMTOM'])[1 + (a >> 20) % 4] END,
       t::date,
       t::time
FROM sample.moments((:rows)::bigint / 4),
     LATERAL (SELECT to_timestamp(epoch) AT TIME ZONE 'UTC' AS t, sample.h(n, 701) & 4294967295 AS a,
                     sample.h(n, 702) & 4294967295 AS b, 20 + (sample.h(n, 703) & 65535) / 100.0 AS free_flow
              OFFSET 0) AS dice;
CREATE INDEX ON travel_time (measured_at);

-- A long table: which value it is, stands in the row. One metric is not classified yet.
CREATE TABLE sensor_metric (
    sensor_id text NOT NULL,
    metric_name text NOT NULL,
    metric_value double precision,
    unit char(6),
    recorded_epoch bigint NOT NULL
);
INSERT INTO sensor_metric
SELECT 'S-' || lpad(sample.i(n, 801, 400)::text, 4, '0'),
       kind.name,
       CASE WHEN sample.i(n, 802, 40) > 0 THEN floor(kind.top * sample.u(n, 803) * 1000) / 1000 END,
       kind.unit,
       floor(epoch)::bigint
FROM sample.moments((:rows)::bigint / 2)
JOIN (VALUES (0, 'flow', 'veh/h', 2400.0::double precision), (1, 'occupancy', '%', 100), (2, 'mean_speed', 'km/h', 140),
             (3, 'air_temperature', 'degC', 40), (4, 'rain_intensity', 'mm/h', 60), (5, 'toll_revenue', 'credit', 900),
             (6, 'device_battery', NULL, 1), (7, 'axle_load', 't', 12)) AS kind(no, name, unit, top)
  ON kind.no = n % 8;
CREATE INDEX ON sensor_metric (recorded_epoch);
