//! Scans of a real PostgreSQL: which tables, columns and rows they read.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use chrono::{DateTime, Utc};
use classification::{ColumnKind, Predicate};
use data_exporter::warehouse::{ScanSpec, TimeSlice, TimeUnit, Warehouse};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::support::warehouse::TestWarehouse;

/// The `id` column of everything that a scan reads, in order.
async fn ids(test: &TestWarehouse, scan: &ScanSpec) -> Vec<i64> {
    let batches = test.read(scan).await.unwrap();
    let mut ids: Vec<i64> = batches
        .iter()
        .flat_map(|batch| batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec())
        .collect();
    ids.sort_unstable();
    ids
}

fn one_of(column: &str, values: &[&str]) -> Predicate {
    Predicate::In { column: column.to_owned(), values: values.iter().map(|&value| value.to_owned()).collect() }
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[tokio::test]
async fn the_catalog_tells_tables_as_they_are() {
    let mut test = TestWarehouse::new("extract_catalog").await;
    test.run(
        "CREATE TYPE mood AS ENUM ('ok');
         CREATE DOMAIN amount AS numeric(10,2);
         CREATE DOMAIN total AS amount;
         CREATE TABLE \"We\"\"ird.Näme\" (\"a\"\"b\" int, \"A\" text, gone int, \"a\" mood, t total, v varchar(7), x box);
         ALTER TABLE \"We\"\"ird.Näme\" DROP COLUMN gone;
         CREATE TABLE empty ();
         CREATE TABLE parted (id bigint, at timestamptz) PARTITION BY RANGE (at);
         CREATE VIEW seen AS SELECT 1::bigint AS id, 'x'::text AS t;
         CREATE MATERIALIZED VIEW kept AS SELECT 2::bigint AS id;
         CREATE SEQUENCE numbers; CREATE INDEX an_index ON parted (at);
         CREATE TYPE composite AS (a int);",
    )
    .await;
    let names =
        ["We\"ird.Näme", "empty", "parted", "seen", "kept", "numbers", "an_index", "composite", "we\"ird.näme", "no"];
    let tables: Vec<_> = names.iter().map(|name| test.table(name)).collect();
    let shapes = test.warehouse.catalog(&tables).await.unwrap();
    let found: BTreeSet<_> = shapes.iter().map(|shape| shape.table.name()).collect();
    assert_eq!(found, BTreeSet::from(["We\"ird.Näme", "empty", "parted", "seen", "kept"]));

    let weird = shapes.iter().find(|shape| shape.table.name() == "We\"ird.Näme").unwrap();
    let columns: Vec<_> = weird
        .columns
        .iter()
        .map(|column| (column.catalog.name.as_str(), column.catalog.sql_type.as_str(), column.catalog.kind))
        .collect();
    assert_eq!(
        columns,
        [
            ("a\"b", "integer", ColumnKind::Number),
            ("A", "text", ColumnKind::Text),
            ("a", "extract_catalog.mood", ColumnKind::Enum),
            ("t", "extract_catalog.total", ColumnKind::Number),
            ("v", "character varying(7)", ColumnKind::Text),
            ("x", "box", ColumnKind::Other),
        ]
    );
    assert_eq!(weird.columns[3].manifest_type.as_deref(), Some("numeric(10,2)"));
    assert!(shapes.iter().find(|shape| shape.table.name() == "empty").unwrap().columns.is_empty());
    for name in ["seen", "kept"] {
        assert_eq!(ids(&test, &test.whole(name).await).await.len(), 1, "{name}");
    }
    assert!(test.warehouse.catalog(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn nothing_is_guessed_from_a_search_path() {
    let mut test = TestWarehouse::new("extract_path").await;
    // A table of the same name in the role's own path, and an operator that would admit everything.
    test.run(
        "CREATE TABLE pg_class (id bigint);
         CREATE TABLE t (id bigint, source text); INSERT INTO t VALUES (1, 'a'), (2, 'b');
         CREATE FUNCTION yes(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
         CREATE OPERATOR extract_path.= (LEFTARG = text, RIGHTARG = text, FUNCTION = yes)",
    )
    .await;
    let mut scan = test.whole("t").await;
    scan.rows = one_of("source", &["a"]);
    assert_eq!(ids(&test, &scan).await, [1]);
    assert!(test.warehouse.catalog(&["t".parse().unwrap()]).await.unwrap().is_empty());
}

#[tokio::test]
async fn rows_and_cells_are_those_of_the_policy() {
    let mut test = TestWarehouse::new("extract_policy").await;
    test.run(
        "CREATE TYPE kind AS ENUM ('red', 'blue');
         CREATE TABLE t (id bigint, source text, k kind, c char(6), secret int);
         INSERT INTO t VALUES (1, 'HERE', 'red', 'a', 10), (2, 'here', 'red', 'a', 20), (3, NULL, 'blue', 'b', 30),
           (4, 'HERE ', NULL, 'b', 40), (5, 'TOMTOM', 'blue', NULL, 50)",
    )
    .await;
    let all = test.whole("t").await;
    for (rows, want) in [
        (Predicate::Always, vec![1, 2, 3, 4, 5]),
        (Predicate::Never, vec![]),
        (one_of("source", &["HERE"]), vec![1]),
        (one_of("source", &["HERE", "TOMTOM", "none"]), vec![1, 5]),
        (one_of("source", &[]), vec![]),
        (one_of("k", &["red"]), vec![1, 2]),
        (one_of("c", &["a"]), vec![1, 2]),
        (one_of("id", &["3"]), vec![3]),
        (Predicate::All(vec![one_of("k", &["red"]), one_of("source", &["here"])]), vec![2]),
        (Predicate::Any(vec![one_of("k", &["blue"]), one_of("source", &["here"])]), vec![2, 3, 5]),
    ] {
        let scan = ScanSpec { rows: rows.clone(), ..all.clone() };
        assert_eq!(ids(&test, &scan).await, want, "{rows:?}");
    }

    let mut scan = all;
    scan.columns.iter_mut().find(|column| column.name == "secret").unwrap().cell =
        one_of("source", &["HERE", "TOMTOM"]);
    let batches = test.read(&scan).await.unwrap();
    let secret = batches[0].column_by_name("secret").unwrap();
    assert_eq!((0..5).map(|row| secret.is_valid(row)).collect::<Vec<_>>(), [true, false, false, false, true]);
}

#[tokio::test]
async fn hostile_names_and_values_stay_names_and_values() {
    let mut test = TestWarehouse::new("extract_hostile").await;
    let mut runner = TestRunner::deterministic();
    let texts = "(\\PC|['\"\\\\$;%\n\t]|--|/\\*|\\*/|''|\"\"|\\$\\$|E'){1,12}";
    let mut values = vec!["'".to_owned(), "\\".to_owned(), "\\'; DROP TABLE t; --".to_owned(), "$$".to_owned()];
    values.extend((0..60).map(|_| texts.new_tree(&mut runner).unwrap().current()));
    // Names end at 63 bytes.
    let names: BTreeSet<String> = values
        .iter()
        .map(|value| {
            value
                .chars()
                .scan(0, |size, char| {
                    *size += char.len_utf8();
                    (*size <= 63).then_some(char)
                })
                .collect()
        })
        .collect();

    // The reference quotes with the server's own functions, through a bind parameter.
    let columns: Vec<String> = names.iter().cloned().collect();
    let create: String = sqlx::query_scalar(
        "SELECT format('CREATE TABLE %I (id bigint, source text, %s)', $1, string_agg(format('%I int', name), ', ' ORDER BY name))
         FROM unnest($2::text[]) AS name",
    )
    .bind("Robert'); DROP TABLE \"students\"; --")
    .bind(&columns)
    .fetch_one(&mut test.sql)
    .await
    .unwrap();
    test.run(create).await;
    sqlx::query("INSERT INTO \"Robert'); DROP TABLE \"\"students\"\"; --\" (id, source) SELECT row_number() OVER (), v FROM unnest($1::text[]) v")
        .bind(&values)
        .execute(&mut test.sql)
        .await
        .unwrap();

    let scan = test.whole("Robert'); DROP TABLE \"students\"; --").await;
    let found: BTreeSet<_> = scan.columns.iter().skip(2).map(|column| column.name.clone()).collect();
    assert_eq!(found, names);
    assert_eq!(ids(&test, &scan).await.len(), values.len());
    for value in &values {
        let scan = ScanSpec { rows: one_of("source", &[value]), ..scan.clone() };
        let batches = test.read(&scan).await.unwrap();
        let rows: Vec<_> = batches
            .iter()
            .flat_map(|batch| {
                batch.column(1).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        let want = values.iter().filter(|other| *other == value).count();
        assert_eq!((rows.len(), rows.iter().all(|row| row == value)), (want, true), "{value:?}");
    }
}

/// The rows of each of these slices, one after the other.
async fn sliced(test: &TestWarehouse, table: &str, slice: &TimeSlice, cuts: &[&str]) -> Vec<Vec<i64>> {
    let mut rows = Vec::new();
    for pair in cuts.windows(2) {
        let slice = TimeSlice { start: instant(pair[0]), end: instant(pair[1]), ..slice.clone() };
        rows.push(ids(test, &ScanSpec { slice: Some(slice), ..test.whole(table).await }).await);
    }
    rows
}

#[tokio::test]
async fn time_slices_take_each_row_exactly_once() {
    let mut test = TestWarehouse::new("extract_slices").await;
    test.run(
        "CREATE TABLE t (id bigint, tz timestamptz, ts timestamp, d date, s int, ms bigint);
         INSERT INTO t SELECT g, at, at AT TIME ZONE 'UTC', (at AT TIME ZONE 'UTC')::date, extract(epoch FROM at), extract(epoch FROM at) * 1000
           FROM generate_series(0, 47) g, LATERAL (SELECT timestamptz '2024-03-01 00:00:00+00' + g * interval '1 hour' AS at) a;
         INSERT INTO t VALUES (100, NULL, NULL, NULL, NULL, NULL), (101, 'infinity', 'infinity', 'infinity', NULL, NULL),
           (102, '-infinity', '-infinity', '-infinity', NULL, NULL)",
    )
    .await;
    let cuts = ["2024-03-01T00:00:00Z", "2024-03-01T12:00:00Z", "2024-03-02T00:00:00Z", "2024-03-03T00:00:00Z"];
    let start = instant(cuts[0]);
    for (column, unit) in
        [("tz", TimeUnit::Timestamp), ("ts", TimeUnit::Timestamp), ("s", TimeUnit::EpochS), ("ms", TimeUnit::EpochMs)]
    {
        let slice = TimeSlice { column: column.to_owned(), unit, zone: "UTC".to_owned(), start, end: start };
        let want: [Vec<i64>; 3] = [(0..12).collect(), (12..24).collect(), (24..48).collect()];
        // Infinite times are read by nobody, and nobody stumbles over them.
        let mut scan = test.whole("t").await;
        scan.columns.truncate(1);
        for (pair, want) in cuts.windows(2).zip(want) {
            let slice = TimeSlice { start: instant(pair[0]), end: instant(pair[1]), ..slice.clone() };
            assert_eq!(ids(&test, &ScanSpec { slice: Some(slice), ..scan.clone() }).await, want, "{column} {pair:?}");
        }
    }
    // A date is its first moment.
    let slice = TimeSlice { column: "d".to_owned(), unit: TimeUnit::Date, zone: "UTC".to_owned(), start, end: start };
    let rows = sliced(&test, "t", &slice, &cuts).await;
    assert_eq!(rows, [(0..24).collect::<Vec<_>>(), vec![], (24..48).collect()]);
}

#[tokio::test]
async fn seams_within_a_second_lose_no_row_and_take_none_twice() {
    let mut test = TestWarehouse::new("extract_fractions").await;
    // At each seam, a microsecond before it and one after it. A millisecond is the finest that `ms` holds, a second `s`.
    let seams = ["00:00:00.25Z", "00:00:00.250001Z", "00:00:00.5Z", "00:00:01Z", "00:00:01.999999Z", "00:00:02Z"];
    let seams = seams.map(|time| format!("2024-03-01T{time}"));
    let marks: Vec<String> = seams.iter().map(|seam| format!("('{seam}'::timestamptz)")).collect();
    test.run(format!(
        "CREATE TABLE t AS SELECT row_number() OVER (ORDER BY tz) AS id, tz, tz AT TIME ZONE 'UTC' AS ts,
           tz AT TIME ZONE 'Europe/Paris' AS local, extract(epoch FROM tz)::numeric AS exact,
           floor(extract(epoch FROM tz))::bigint AS s, floor(extract(epoch FROM tz) * 1000)::bigint AS ms
         FROM (VALUES {}) AS seam (at), LATERAL (SELECT at + g * interval '1 us' FROM generate_series(-1, 1) g) r (tz)",
        marks.join(", ")
    ))
    .await;
    // And one between two microseconds.
    let mut cuts: Vec<DateTime<Utc>> = seams.iter().map(|seam| instant(seam)).collect();
    cuts.push(instant("2024-03-01T00:00:00.2500004Z"));
    cuts.extend(["2024-03-01T00:00:00Z", "2024-03-01T00:00:03Z"].map(instant));
    cuts.sort();
    for (column, unit, zone, parts) in [
        ("tz", TimeUnit::Timestamp, "UTC", 1_000_000),
        ("ts", TimeUnit::Timestamp, "UTC", 1_000_000),
        ("local", TimeUnit::Timestamp, "Europe/Paris", 1_000_000),
        ("exact", TimeUnit::EpochS, "UTC", 1),
        ("s", TimeUnit::EpochS, "UTC", 1),
        ("ms", TimeUnit::EpochMs, "UTC", 1_000),
    ] {
        // What PostgreSQL has in the column, in microseconds.
        let means = match column {
            "tz" | "ts" | "local" => "(extract(epoch FROM tz) * 1000000)::bigint",
            "exact" => "(exact * 1000000)::bigint",
            "s" => "s * 1000000",
            _ => "ms * 1000",
        };
        let means = test.texts(format!("SELECT ({means})::text FROM t ORDER BY id")).await;
        let means: Vec<i64> = means.into_iter().map(|micros| micros.unwrap().parse().unwrap()).collect();
        // A seam is at the first moment not before it that the unit can say.
        let finest = 1_000_000_000 / parts;
        let first = |cut: &DateTime<Utc>| (cut.timestamp_nanos_opt().unwrap() + finest - 1) / finest * finest / 1_000;
        let spec = test.whole("t").await;
        let mut all = Vec::new();
        for pair in cuts.windows(2) {
            let (start, end) = (pair[0], pair[1]);
            let slice = TimeSlice { column: column.to_owned(), unit, zone: zone.to_owned(), start, end };
            let want: Vec<i64> = (1..)
                .zip(&means)
                .filter(|(_, micros)| (first(&start)..first(&end)).contains(micros))
                .map(|(id, _)| id)
                .collect();
            let found = ids(&test, &ScanSpec { slice: Some(slice), ..spec.clone() }).await;
            assert_eq!(found, want, "{column} from {start} to {end}");
            all.extend(found);
        }
        all.sort_unstable();
        assert_eq!(all, (1..=means.len() as i64).collect::<Vec<_>>(), "{column}");
    }
}

#[tokio::test]
async fn values_without_zone_survive_daylight_saving() {
    let mut test = TestWarehouse::new("extract_zones").await;
    // Five minutes of the local clock after the other, around each change, also the times that never were.
    for (zone, day, change) in [
        ("UTC", "2024-10-26", "2024-10-27T01:00:00Z"),
        ("Europe/Paris", "2024-10-26", "2024-10-27T01:00:00Z"),
        ("Europe/Paris", "2024-03-30", "2024-03-31T01:00:00Z"),
        // By half an hour.
        ("Australia/Lord_Howe", "2024-04-06", "2024-04-06T15:00:00Z"),
        // Skipped a whole day.
        ("Pacific/Apia", "2011-12-29", "2011-12-30T10:00:00Z"),
    ] {
        test.run(format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT row_number() OVER () AS id, ts, ts::date AS d
               FROM (SELECT timestamp '{day}' + g * interval '5 minutes' FROM generate_series(0, 4 * 288) g) s (ts)"
        ))
        .await;
        for (column, server) in [("ts", "ts"), ("d", "d::timestamp")] {
            let seconds = format!("extract(epoch FROM {server} AT TIME ZONE '{zone}')::bigint::text");
            let means = test.texts(format!("SELECT {seconds} FROM t ORDER BY id")).await;
            let means: Vec<i64> = means.into_iter().map(|seconds| seconds.unwrap().parse().unwrap()).collect();
            // Cuts at odd minutes, also inside the hour that comes twice; seldom where clocks are ordinary.
            let start = instant(&format!("{day}T12:00:00Z"));
            let near =
                instant(change) - chrono::Duration::minutes(200)..instant(change) + chrono::Duration::minutes(290);
            let cuts = (0..40).map(|step| (step, start + chrono::Duration::minutes(step * 75)));
            let cuts = cuts.filter(|(step, cut)| step % 8 == 0 || near.contains(cut));
            let cuts: Vec<_> = cuts.map(|(_, cut)| cut).collect();
            let spec = test.whole("t").await;
            for pair in cuts.windows(2) {
                let slice = TimeSlice {
                    column: column.to_owned(),
                    unit: TimeUnit::Timestamp,
                    zone: zone.to_owned(),
                    start: pair[0],
                    end: pair[1],
                };
                let inside = pair[0].timestamp()..pair[1].timestamp();
                let want: Vec<i64> =
                    (1..).zip(&means).filter(|(_, mean)| inside.contains(mean)).map(|(id, _)| id).collect();
                let found = ids(&test, &ScanSpec { slice: Some(slice), ..spec.clone() }).await;
                assert_eq!(found, want, "{zone}, {column}, from {} to {}", pair[0], pair[1]);
            }
        }
    }
}

#[tokio::test]
async fn estimates_come_from_statistics() {
    let mut test = TestWarehouse::new("extract_estimate").await;
    test.run(
        "CREATE TABLE t (id bigint, at timestamptz, local timestamp, other timestamptz, part timestamptz);
         INSERT INTO t SELECT g, a, a AT TIME ZONE 'UTC', a, a FROM generate_series(0, 99999) g,
           LATERAL (SELECT timestamptz '2024-03-01 00:00:00+00' + g * interval '1 second' AS a) s;
         CREATE INDEX ON t (at); CREATE INDEX ON t (local, id); CREATE INDEX ON t (id, other);
         CREATE INDEX ON t (part) WHERE id > 5; ANALYZE t",
    )
    .await;
    for (column, zone, indexed) in [
        ("at", "UTC", true),
        ("local", "UTC", true),
        ("local", "Europe/Paris", true),
        ("other", "UTC", false),
        ("part", "UTC", false),
    ] {
        let (start, end) = (instant("2024-03-01T02:00:00Z"), instant("2024-03-01T03:00:00Z"));
        let slice =
            TimeSlice { column: column.to_owned(), unit: TimeUnit::Timestamp, zone: zone.to_owned(), start, end };
        let scan = ScanSpec { slice: Some(slice), ..test.whole("t").await };
        let estimate = test.warehouse.estimate(&scan).await.unwrap();
        assert_eq!(estimate.read_whole.is_empty(), indexed, "{column} {zone}: {estimate:?}");
        assert!((3000.0..4200.0).contains(&estimate.rows), "{column} {zone}: {estimate:?}");
        // Five values of eight bytes, their lengths, and the frame.
        assert_eq!(estimate.row_bytes, 40.0 + 20.0 + 7.0, "{column}");
    }
    let whole = test.warehouse.estimate(&test.whole("t").await).await.unwrap();
    assert_eq!((whole.rows, whole.read_whole), (100_000.0, BTreeSet::from(["t".to_owned()])));
}

#[tokio::test]
async fn a_long_scan_comes_in_batches_that_are_whole() {
    let mut test = TestWarehouse::new("extract_batches").await;
    test.run(
        "CREATE TABLE narrow AS SELECT g::bigint AS id FROM generate_series(1, 100000) g;
         CREATE TABLE broad AS SELECT g::bigint AS id, repeat(md5(g::text), 4000) AS text FROM generate_series(1, 300) g;
         CREATE TABLE none (id bigint)",
    )
    .await;
    for (name, rows, batches) in [("narrow", 100_000, 5..=50), ("broad", 300, 100..=300), ("none", 0, 0..=0)] {
        let scan = test.whole(name).await;
        let found = test.read(&scan).await.unwrap();
        assert!(batches.contains(&found.len()), "{name}: {}", found.len());
        let memory: usize = found.iter().map(|batch| batch.get_array_memory_size()).max().unwrap_or_default();
        assert!(memory < 1 << 20, "{name}: {memory}");
        assert_eq!(ids(&test, &scan).await, (1..=rows).collect::<Vec<_>>(), "{name}");
    }
}
