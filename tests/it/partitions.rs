//! How tables are cut by their time: what is planned, what it makes the warehouse do, and that every row is in the one
//! file that its time belongs to.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use data_exporter::jobs::{Compression, ExportFormat, FileChoice, JobState};
use data_exporter::pipeline::PipelineSettings;
use data_exporter::warehouse::postgres::PostgresOptions;
use data_exporter::warehouse::{ScanSpec, Warehouse};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::support::inprocess::{Running, Troubled};
use crate::support::offered::{files, manifest, offer, request, run};
use crate::support::platform::Platform;
use crate::support::s3;

/// What a partition is to send. The tables send some two megabytes of the window.
const TARGET: u64 = 256 << 10;

/// Three days, a row every five seconds, some of them a microsecond early.
const SERIES: &str =
    "SELECT g AS id, timestamptz '2026-03-01 00:00Z' + g * interval '5 s' - (g % 2) * interval '1 us' AS at,
    repeat('x', 80) AS note FROM generate_series(0, 51839) AS g";
/// The same as clocks on the wall show it, from this date on.
const WALL: &str = "SELECT g AS id, timestamp 'DATE' + g * interval '5 s' - (g % 2) * interval '1 us' AS at,
    repeat('x', 80) AS note FROM generate_series(0, 51839) AS g";

/// How many files there must be.
#[derive(Clone, Copy, PartialEq)]
enum Files {
    One,
    Several,
    Exactly(usize),
    /// Some dozen, none of which has more rows.
    AtMost(usize),
    Any,
}

struct Case {
    table: &'static str,
    sql: String,
    /// Unit, zone, and the instant of a row.
    time: (&'static str, &'static str, &'static str),
    files: Files,
}

const INSTANT: (&str, &str, &str) = ("timestamp", "UTC", "at");
const BERLIN: (&str, &str, &str) = ("timestamp", "Europe/Berlin", "(at AT TIME ZONE 'Europe/Berlin')");

fn case(table: &'static str, files: Files, time: (&'static str, &'static str, &'static str), sql: &str) -> Case {
    let sql = sql.replace("SERIES", SERIES).replace("WALL", WALL);
    Case { table, sql, time, files }
}

async fn start(platform: &Platform) -> Running {
    let warehouse = Arc::new(Troubled::new(platform, PostgresOptions::default()));
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    let settings = PipelineSettings { partition_target_bytes: TARGET, ..PipelineSettings::default() };
    Running::with_settings(platform, warehouse, store, settings)
}

/// Exports these tables between two instants and compares each file with what the warehouse says of its range.
async fn check(name: &str, cases: &[Case], window: (&str, &str)) {
    let platform = Platform::empty(name).await;
    for case in cases {
        run(&platform.warehouse, case.sql.as_str()).await;
        offer(&platform, case.table, case.time.0, case.time.1).await;
    }
    let worker = start(&platform).await;
    let seconds = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp();
    let tables: Vec<&str> = cases.iter().map(|case| case.table).collect();
    let job = request(&worker, &tables, (seconds(window.0), seconds(window.1))).await;
    let view = worker.finished(job).await;
    for Case { table, time: (_, _, instant), files: expected, .. } in cases {
        let found = files(&platform, &manifest(&platform, &view, table).await).await;
        let (first, last) = (&found[0].1[0], &found[found.len() - 1].1[1]);
        assert_eq!((first.as_str(), last.as_str()), window, "{table}");
        assert!(found.windows(2).all(|pair| pair[0].1[1] == pair[1].1[0]), "{table}: {found:?}");
        for (ids, [start, end]) in &found {
            let oracle = format!(
                "SELECT id::int8 FROM {table} WHERE {instant} >= '{start}' AND {instant} < '{end}' ORDER BY id"
            );
            let oracle: Vec<i64> =
                sqlx::query_scalar(AssertSqlSafe(oracle)).fetch_all(&platform.warehouse).await.unwrap();
            assert!(*ids == oracle, "{table} from {start} to {end}: {} rows for {}", ids.len(), oracle.len());
        }
        let counts: Vec<usize> = found.iter().map(|(ids, _)| ids.len()).collect();
        let as_expected = match *expected {
            Files::One => counts.len() == 1,
            Files::Several => (5..=20).contains(&counts.len()),
            Files::Exactly(count) => counts.len() == count,
            Files::AtMost(rows) => counts.len() > 12 && counts.iter().all(|count| *count <= rows),
            Files::Any => true,
        };
        assert!(as_expected, "{table}: {counts:?}");
        if *expected == Files::Several {
            // About 2,200 rows to a slice, and none hardly worth a file.
            assert!(counts.iter().all(|count| (200..3_200).contains(count)), "{table}: {counts:?}");
        }
        no_relation_is_read_twice(&platform, table, instant, &found).await;
    }
    worker.stop().await;
}

/// Neither in the planner's words to us nor in its words to anybody.
async fn no_relation_is_read_twice(platform: &Platform, table: &str, instant: &str, found: &[(Vec<i64>, [String; 2])]) {
    let scans: Vec<Value> =
        sqlx::query_scalar("SELECT scan FROM export_job_partitions WHERE table_name IN ($1, 'public.' || $1)")
            .bind(table)
            .fetch_all(&platform.metadata)
            .await
            .unwrap();
    assert_eq!(scans.len(), found.len(), "{table}");
    let warehouse = Troubled::new(platform, PostgresOptions::default());
    let mut whole = BTreeSet::new();
    for scan in scans {
        let scan: ScanSpec = serde_json::from_value(scan).unwrap();
        for relation in warehouse.estimate(&scan).await.unwrap().read_whole {
            assert!(whole.insert(relation.clone()), "{relation} is read from end to end twice");
        }
    }
    if instant != "at" {
        return;
    }
    let mut scanned = BTreeSet::new();
    for (_, [start, end]) in found {
        let explain = format!("EXPLAIN SELECT * FROM {table} WHERE at >= '{start}' AND at < '{end}'");
        let lines: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&platform.warehouse).await.unwrap();
        // What names are looked up in is small.
        for line in lines.iter().filter(|line| line.contains("Seq Scan on") && !line.contains(" on kinds ")) {
            let relation = line.split("Seq Scan on ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
            assert!(scanned.insert(relation), "{table}: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_indexed_is_cut_and_what_is_not_is_scanned_once() {
    let parts = "PARTITION OF NAME FOR VALUES FROM";
    let parted = |name: &str| {
        format!(
            "CREATE TABLE {name} (id int, at timestamptz, note text) PARTITION BY RANGE (at);
             CREATE TABLE {name}_a {parts} (MINVALUE) TO ('2026-03-02 00:00Z');
             CREATE TABLE {name}_b {parts} ('2026-03-02 00:00Z') TO ('2026-03-02 07:00:07Z');
             CREATE TABLE {name}_c {parts} ('2026-03-02 07:00:07Z') TO ('2026-03-02 15:30:01Z');
             CREATE TABLE {name}_d {parts} ('2026-03-02 15:30:01Z') TO (MAXVALUE);
             CREATE TABLE {name}_e PARTITION OF {name} DEFAULT;
             INSERT INTO {name} SERIES; INSERT INTO {name} VALUES (-1, NULL)"
        )
        .replace("NAME", name)
    };
    let cases = [
        case("ordered", Files::Several, INSTANT, "CREATE TABLE ordered AS SERIES;
            INSERT INTO ordered VALUES (-1, NULL), (-2, 'infinity'), (-3, '-infinity');
            CREATE INDEX ON ordered (at); ANALYZE ordered"),
        case("brin", Files::Several, INSTANT, "CREATE TABLE brin AS SERIES;
            CREATE INDEX ON brin USING brin (at) WITH (pages_per_range = 4); ANALYZE brin"),
        case("plain", Files::One, INSTANT, "CREATE TABLE plain AS SERIES; ANALYZE plain"),
        case("partial", Files::One, INSTANT, "CREATE TABLE partial AS SERIES;
            CREATE INDEX ON partial (at) WHERE id % 2 = 0; ANALYZE partial"),
        case("second", Files::One, INSTANT, "CREATE TABLE second AS SERIES;
            CREATE INDEX ON second (id, at); ANALYZE second"),
        case("invalid", Files::One, INSTANT, "CREATE TABLE invalid AS SERIES; CREATE INDEX broken ON invalid (at);
            UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass; ANALYZE invalid"),
        case("scattered", Files::One, INSTANT, "CREATE TABLE scattered AS SELECT * FROM (SERIES) AS s ORDER BY md5(id::text);
            CREATE INDEX ON scattered (at); ANALYZE scattered"),
        // The parts are pruned, and read from end to end one by one: a slice ends where a part does.
        case("parted", Files::Exactly(3), INSTANT, &format!("{}; ANALYZE parted", parted("parted"))),
        // Parts that end within a second: there nothing is cut, and no row is lost for it.
        case("parted_fine", Files::Any, INSTANT,
            &format!("{}; ANALYZE parted_fine", parted("parted_fine").replace("07:00:07Z", "07:00:09.999999Z").replace("15:30:01Z", "15:30:00.5Z"))),
        case("parted_indexed", Files::Several, INSTANT,
            &format!("{}; CREATE INDEX ON parted_indexed (at); ANALYZE parted_indexed", parted("parted_indexed"))),
        case("hashed", Files::One, INSTANT, "CREATE TABLE hashed (id int, at timestamptz, note text) PARTITION BY HASH (id);
            CREATE TABLE hashed_a PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
            CREATE TABLE hashed_b PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
            INSERT INTO hashed SERIES; ANALYZE hashed"),
        case("seen", Files::Several, INSTANT,
            "CREATE TABLE kinds AS SELECT g AS kind, 'kind ' || g AS name FROM generate_series(0, 9) AS g; ANALYZE kinds;
             CREATE VIEW seen AS SELECT id, at, note FROM ordered LEFT JOIN kinds ON kind = id % 10"),
        case("computed", Files::One, INSTANT, "CREATE VIEW computed AS
            SELECT (row_number() OVER (ORDER BY id))::int AS id, at, note FROM ordered"),
        case("kept", Files::Several, INSTANT, "CREATE MATERIALIZED VIEW kept AS SELECT * FROM ordered;
            CREATE INDEX ON kept (at); ANALYZE kept"),
    ];
    check("partitions_index", &cases, ("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_that_are_skewed_stale_or_missing_change_no_row() {
    let cases = [
        case("empty", Files::One, INSTANT, "CREATE TABLE empty (id int, at timestamptz, note text)"),
        case(
            "quiet",
            Files::One,
            INSTANT,
            "CREATE TABLE quiet AS SELECT id, at - interval '10 days' AS at, note FROM (SERIES) AS s;
            CREATE INDEX ON quiet (at); ANALYZE quiet",
        ),
        case(
            "stale",
            Files::Any,
            INSTANT,
            "CREATE TABLE stale (id int, at timestamptz, note text) WITH (autovacuum_enabled = false);
            INSERT INTO stale SELECT id, at - interval '10 days', note FROM (SERIES) AS s WHERE id < 100;
            CREATE INDEX ON stale (at); ANALYZE stale; INSERT INTO stale SERIES",
        ),
        case(
            "shrunk",
            Files::Any,
            INSTANT,
            "CREATE TABLE shrunk WITH (autovacuum_enabled = false) AS SERIES;
            CREATE INDEX ON shrunk (at); ANALYZE shrunk; DELETE FROM shrunk WHERE id % 1000 > 0",
        ),
        case(
            "never",
            Files::Any,
            INSTANT,
            "CREATE TABLE never (id int, at timestamptz, note text) WITH (autovacuum_enabled = false);
            CREATE INDEX ON never (at); INSERT INTO never SERIES",
        ),
        case(
            "minute",
            // More in one minute than in the rest of the day: it is cut like any other time.
            Files::AtMost(4_000),
            INSTANT,
            "CREATE TABLE minute AS SELECT * FROM (SERIES UNION ALL
                SELECT -g, '2026-03-02 12:34Z'::timestamptz + g * interval '3 ms', repeat('y', 80)
                FROM generate_series(0, 19999) AS g) AS s ORDER BY at;
            CREATE INDEX ON minute (at); ANALYZE minute",
        ),
        case(
            "second",
            Files::Any,
            INSTANT,
            "CREATE TABLE second AS SERIES;
            INSERT INTO second SELECT -g, '2026-03-02 12:34:56Z', repeat('y', 80) FROM generate_series(1, 20000) AS g;
            CREATE INDEX ON second (at); ANALYZE second",
        ),
    ];
    check("partitions_skew", &cases, ("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z")).await;
}

/// Whole numbers and dates, and times whose zone is only known to the rules.
#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_hold_time_is_cut_exactly() {
    let counted = |table: &str, sql_type: &str, factor: i64| {
        format!(
            "CREATE TABLE {table} AS SELECT id, floor(extract(epoch FROM at) * {factor})::{sql_type} AS at, note FROM (SERIES) AS s;
             CREATE INDEX ON {table} (at); INSERT INTO {table} VALUES (-1, NULL); ANALYZE {table}"
        )
    };
    let cases = [
        case("short", Files::Several, ("epoch_s", "UTC", "to_timestamp(at)"), &counted("short", "int4", 1)),
        case("long", Files::Several, ("epoch_s", "UTC", "to_timestamp(at)"), &counted("long", "int8", 1)),
        case("fine", Files::Several, ("epoch_ms", "UTC", "to_timestamp(at / 1000.0)"), &counted("fine", "int8", 1000)),
        case("exact", Files::Several, ("epoch_s", "UTC", "to_timestamp(at)"),
            "CREATE TABLE exact AS SELECT id, extract(epoch FROM at)::numeric(20,6) AS at, note FROM (SERIES) AS s;
             INSERT INTO exact VALUES (-1, NULL); CREATE INDEX ON exact (at); ANALYZE exact"),
        case("wall", Files::Several, ("timestamp", "UTC", "(at AT TIME ZONE 'UTC')"),
            &"CREATE TABLE wall AS WALL; INSERT INTO wall VALUES (-1, 'infinity'); CREATE INDEX ON wall (at); ANALYZE wall"
                .replace("WALL", &WALL.replace("DATE", "2026-03-01"))),
        case("tokyo", Files::One, ("date", "Asia/Tokyo", "(at::timestamp AT TIME ZONE 'Asia/Tokyo')"),
            "CREATE TABLE tokyo AS SELECT id, date '2026-02-20' + id % 20 AS at, note FROM (SERIES) AS s;
             INSERT INTO tokyo VALUES (-1, 'infinity'), (-2, NULL); CREATE INDEX ON tokyo (at); ANALYZE tokyo"),
    ];
    check("partitions_time", &cases, ("2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z")).await;
}

/// What is kept of every column's chunks until a file ends grows with columns and bytes. No file of many columns is larger than
/// a worker has memory for; lines of text keep nothing.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_many_columns_get_smaller_files() {
    let platform = Platform::empty("partitions_wide").await;
    let columns: String = (0..200).map(|n| format!(", g + {n} AS c{n}")).collect();
    for (table, columns, times) in [("wide", columns.as_str(), 40), ("narrow", ", repeat('x', 1600) AS c0", 40)] {
        // The planner is told that there are more rows: 200 MB of them.
        let sql = format!(
            "CREATE TABLE {table} WITH (autovacuum_enabled = false) AS
                 SELECT g AS id, timestamptz '2026-03-02 00:00Z' + g * interval '25 s' AS at{columns}
                 FROM generate_series(0::int8, 3200) AS g;
             CREATE INDEX ON {table} (at); ANALYZE {table};
             UPDATE pg_class SET reltuples = reltuples * {times} WHERE oid = '{table}'::regclass"
        );
        run(&platform.warehouse, sql.as_str()).await;
        offer(&platform, table, "timestamp", "UTC").await;
    }
    let classified = "INSERT INTO data_column_classification
        SELECT t, 'c' || n, 'nr', 'test', 'made up', '2099-12-31' FROM unnest(ARRAY['wide', 'narrow']) AS t, generate_series(0, 199) AS n";
    run(&platform.metadata, classified).await;
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let text = FileChoice { format: Some(ExportFormat::Csv), compression: Some(Compression::None) };
    for (form, of_wide) in [(FileChoice::default(), 2..=5), (text, 1..=1)] {
        let job = worker.request_in(&["wide", "narrow"], form).await;
        let view = worker.finished(job).await;
        assert_eq!(view.state, JobState::Completed, "{view:?}");
        for (table, partitions) in [("wide", of_wide), ("narrow", 1..=1)] {
            let files = view.tables.iter().filter(|found| found.name.name() == table).flat_map(|found| &found.files);
            let files = files.count();
            assert!(partitions.contains(&files), "{table}, {form:?}: {files}");
        }
    }
    worker.stop().await;
}

/// A day of 23 hours, and most of one of 25, in which an hour comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn days_that_are_shorter_or_longer_are_cut_exactly() {
    for (name, first, window) in [
        ("spring", "2026-03-28", ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z")),
        ("autumn", "2025-10-25", ("2025-10-25T22:30:00Z", "2025-10-26T22:30:00Z")),
    ] {
        let wall = "CREATE TABLE wall AS WALL; CREATE INDEX ON wall (at); ANALYZE wall"
            .replace("WALL", &WALL.replace("DATE", first));
        let cases = [case("wall", Files::Several, BERLIN, &wall)];
        check(&format!("partitions_{name}"), &cases, window).await;
    }
}
