//! The sample warehouse: what is in it, that it repeats, and that it is left alone or replaced as it should be.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use chrono::NaiveDate;
use classification::rules::{RuleFile, RuleSet, RuleTable};
use classification::{CatalogColumn, ColumnKind, Policy, PolicyContext};
use data_exporter::error::{ErrorCode, Failure};
use data_exporter::local::postgres::{PostgresOptions, PrivatePostgres};
use data_exporter::local::sample::{self, SampleError, SampleOptions, SampleOutcome, TABLES};
use regex::Regex;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

const ROWS: u64 = 20_000;

fn options() -> SampleOptions {
    SampleOptions { rows: ROWS, ..SampleOptions::new(NaiveDate::from_ymd_opt(2026, 3, 1).unwrap()) }
}

async fn cluster() -> (TempDir, PrivatePostgres) {
    let dir = tempfile::Builder::new().prefix("exporter-it-").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let server = PrivatePostgres::start(PostgresOptions::new(dir.path().join("pg"))).await.unwrap();
    server.create_database("warehouse").await.unwrap();
    (dir, server)
}

async fn connect(url: &SecretString) -> PgConnection {
    PgConnection::connect(url.expose_secret()).await.unwrap()
}

async fn number(connection: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_one(connection)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}

async fn texts(connection: &mut PgConnection, sql: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_all(connection)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// One hash for each table, over every value, in the order in which the rows lie.
async fn fingerprints(url: &SecretString) -> BTreeMap<&'static str, String> {
    let mut connection = connect(url).await;
    let mut all = BTreeMap::new();
    for table in TABLES {
        let sql = format!("SELECT md5(string_agg(t::text, '|' ORDER BY ctid)) FROM public.{table} t");
        all.insert(table, texts(&mut connection, &sql).await.remove(0));
    }
    all
}

#[tokio::test]
async fn the_sample_is_whole_repeats_and_is_left_alone_or_replaced() {
    let (_dir, server) = cluster().await;
    let url = server.url("warehouse");
    let begun = Instant::now();
    assert_eq!(sample::build(&url, &options()).await.unwrap(), SampleOutcome::Built);
    println!("sample of {ROWS} rows built in {:.2?}", begun.elapsed());

    let mut connection = connect(&url).await;
    counts_and_days(&mut connection).await;
    every_type_and_null(&mut connection).await;
    planted_values(&mut connection).await;
    rules_fit(&mut connection).await;

    // The same options: not touched. Its file would be another one otherwise.
    let file = "SELECT pg_relation_filepath('probe_speed')";
    let (before, hashes) = (texts(&mut connection, file).await, fingerprints(&url).await);
    assert_eq!(sample::build(&url, &options()).await.unwrap(), SampleOutcome::Kept);
    assert_eq!(texts(&mut connection, file).await, before);

    // The same seed gives the same rows elsewhere.
    server.create_database("other").await.unwrap();
    let other = server.url("other");
    let mut settings = connect(&other).await;
    settings.execute("ALTER DATABASE other SET timezone = 'Asia/Tokyo'").await.unwrap();
    settings.execute("ALTER DATABASE other SET extra_float_digits = 0").await.unwrap();
    sample::build(&other, &options()).await.unwrap();
    settings.execute("ALTER DATABASE other RESET ALL").await.unwrap();
    assert_eq!(fingerprints(&other).await, hashes);

    // Another seed, or another number of rows, replaces them. Only the six classes of roads have no dice in them.
    let reseeded = SampleOptions { seed: 2, ..options() };
    assert_eq!(sample::build(&url, &reseeded).await.unwrap(), SampleOutcome::Built);
    for (table, hash) in fingerprints(&url).await {
        assert_eq!(hash == hashes[table], table == "road_class_reference", "{table}");
    }
    let smaller = SampleOptions { rows: 1_000, ..options() };
    assert_eq!(sample::build(&url, &smaller).await.unwrap(), SampleOutcome::Built);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM probe_speed").await, 1_000);
    let back = SampleOptions { rows: 0, ..options() };
    assert_eq!(sample::build(&url, &back).await.unwrap(), SampleOutcome::Built);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM probe_speed").await, 0);
    let leftovers = "SELECT count(*) FROM pg_namespace WHERE nspname = 'sample'";
    assert_eq!(number(&mut connection, leftovers).await, 0);
    server.stop().await.unwrap();
}

async fn counts_and_days(connection: &mut PgConnection) {
    for (table, time, rows) in [
        ("probe_speed", "ts", ROWS),
        ("travel_time", "measured_at AT TIME ZONE 'UTC'", ROWS / 4),
        ("sensor_metric", "to_timestamp(recorded_epoch)", ROWS / 2),
        ("way", "updated_at", 200),
        ("vms", "shown_at", 200),
        ("incident", "reported_at", 200),
        ("cctv", "seen_at", 120),
        ("driver_registry", "registered_at", 500),
    ] {
        let rows = i64::try_from(rows).unwrap();
        assert_eq!(number(connection, &format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
        let in_day = |from: &str, to: &str| {
            format!("SELECT count(*) FROM {table} WHERE {time} >= '{from} 00:00Z' AND {time} < '{to} 00:00Z'")
        };
        let first = number(connection, &in_day("2026-02-28", "2026-03-01")).await;
        let second = number(connection, &in_day("2026-03-01", "2026-03-02")).await;
        assert_eq!(first + second, rows, "{table}: rows outside the two days");
        // A Saturday and a Sunday: one curve.
        assert!((first - second).abs() <= 1, "{table}: {first} and {second}");
        let indexed = format!(
            "SELECT count(*) FROM pg_index WHERE indrelid = '{table}'::regclass
             AND pg_get_indexdef(indexrelid) LIKE '%({})'",
            time.trim_start_matches("to_timestamp(").trim_end_matches(')').split(' ').next().unwrap()
        );
        assert_eq!(number(connection, &indexed).await, 1, "{table} has no index on its time");
    }
    let by_hour = "SELECT count(*) FROM probe_speed WHERE extract(hour FROM ts) = ";
    let (night, noon) =
        (number(connection, &format!("{by_hour}3")).await, number(connection, &format!("{by_hour}12")).await);
    assert!(night > 0 && noon > 4 * night, "night {night}, noon {noon}");
    // Windows are half-open: rows on their bounds are what shows it.
    assert_eq!(number(connection, "SELECT count(*) FROM probe_speed WHERE ts = date_trunc('hour', ts)").await, 48);
    assert_eq!(number(connection, "SELECT count(*) FROM probe_speed WHERE ts = '2026-03-01 00:00Z'").await, 1);
    let analyzed = "SELECT count(*) FROM pg_class WHERE oid = 'probe_speed'::regclass AND reltuples = 20000";
    assert_eq!(number(connection, analyzed).await, 1, "no statistics");
    let known = "SELECT count(*) FROM probe_speed p WHERE NOT EXISTS (SELECT FROM way w WHERE w.way_id = p.way_id)";
    assert_eq!(number(connection, known).await, 0, "a measurement on a way that is not there");
}

async fn every_type_and_null(connection: &mut PgConnection) {
    let types = texts(
        connection,
        "SELECT DISTINCT CASE WHEN t.typtype = 'e' THEN 'enum' ELSE t.typname::text END
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY 1",
    )
    .await;
    assert_eq!(
        types,
        [
            "bool",
            "bpchar",
            "bytea",
            "date",
            "enum",
            "float4",
            "float8",
            "int2",
            "int4",
            "int8",
            "json",
            "jsonb",
            "numeric",
            "text",
            "time",
            "timestamp",
            "timestamptz",
            "uuid",
            "varchar"
        ]
    );
    for (table, column) in [
        ("way", "name"),
        ("way", "lanes"),
        ("way", "max_speed"),
        ("way", "oneway"),
        ("way", "tags"),
        ("cctv", "stream_url"),
        ("cctv", "lon"),
        ("cctv", "installed"),
        ("cctv", "snapshot"),
        ("incident", "cleared_at"),
        ("incident", "details"),
        ("cctv", "capabilities"),
        ("vms", "luminance"),
        ("vms", "layout"),
        ("vms", "pictogram"),
        ("probe_speed", "source"),
        ("probe_speed", "speed_kmh"),
        ("probe_speed", "heading"),
        ("travel_time", "travel_time_s"),
        ("travel_time", "source"),
        ("sensor_metric", "metric_value"),
        ("sensor_metric", "unit"),
    ] {
        let nulls = number(connection, &format!("SELECT count(*) FROM {table} WHERE {column} IS NULL")).await;
        let others = number(connection, &format!("SELECT count({column}) FROM {table}")).await;
        assert!(nulls > 0 && others > nulls, "{table}.{column}: {nulls} NULL, {others} not");
    }
    let sources = texts(connection, "SELECT DISTINCT coalesce(source, '-') FROM probe_speed ORDER BY 1").await;
    assert_eq!(sources, ["-", "FUSION", "HERE", "PILOT", "TOMTOM"]);
}

async fn planted_values(connection: &mut PgConnection) {
    let descriptions = texts(connection, "SELECT description FROM incident WHERE description IS NOT NULL").await;
    let found = |pattern: &str| -> Vec<String> {
        let pattern = Regex::new(pattern).unwrap();
        descriptions.iter().flat_map(|text| pattern.find_iter(text)).map(|found| found.as_str().to_owned()).collect()
    };
    let vins = found(r"\b1EX[A-HJ-NPR-Z0-9]{14}\b");
    assert!(vins.len() > 20, "{}", vins.len());
    assert_eq!(vins.iter().find(|vin| !vin_is_valid(vin)), None);
    let cards = found(r"\b4000(?: ?[0-9]{4}){3}\b");
    assert!(cards.len() > 20 && cards.iter().any(|card| card.contains(' ')), "{}", cards.len());
    assert_eq!(cards.iter().find(|card| !luhn_is_valid(card)), None);
    assert_eq!(found(r"card [0-9 ]+").len(), cards.len(), "a card number of another form");

    let emails = found(r"[^ (]+@[a-z.]+\b");
    let reserved =
        Regex::new(r"@(example\.(com|org)|mail\.example\.net|traffic\.example|(192\.0\.2|198\.51\.100|203\.0\.113)\.)")
            .unwrap();
    assert!(emails.len() > 20);
    assert_eq!(emails.iter().find(|email| !reserved.is_match(email) && !email.contains("://")), None);
    let phones = found(r"\+[0-9][0-9 ()-]{8,}[0-9]");
    let fictional = Regex::new(r"^(\+1 202-555-01[0-9]{2}|\+44 7700 900[0-9]{3}|\+1 \(415\) 555-01[0-9]{2})$").unwrap();
    assert!(phones.len() > 20);
    assert_eq!(phones.iter().find(|phone| !fictional.is_match(phone)), None);

    let streams = texts(connection, "SELECT stream_url FROM cctv WHERE stream_url IS NOT NULL").await;
    let stream =
        Regex::new(r"^rtsp://operator:[0-9a-f]{12}@(192\.0\.2|198\.51\.100|203\.0\.113)\.[0-9]{1,3}:554/").unwrap();
    assert_eq!(streams.iter().find(|url| !stream.is_match(url)), None);
    let wkt = texts(connection, "SELECT geometry_wkt FROM way").await;
    let line = Regex::new(r"^LINESTRING\((0\.[0-9]{7} 0\.[0-9]{7})(, 0\.[0-9]{7} 0\.[0-9]{7})+\)$").unwrap();
    assert_eq!(wkt.iter().find(|text| !line.is_match(text)), None);
}

/// The rows of a shipped rule file by column name. The files quote nothing, so a comma parts cells.
fn shipped(file: &str, header: &str) -> Vec<BTreeMap<String, String>> {
    let path = format!("{}/classification/{file}.csv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    assert!(!text.contains('"'), "{file}: quoted cells");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(header), "{file}");
    let names: Vec<&str> = header.split(',').collect();
    lines
        .map(|line| {
            assert_eq!(line.split(',').count(), names.len(), "{file}: {line}");
            names.iter().map(|name| (*name).to_owned()).zip(line.split(',').map(str::to_owned)).collect()
        })
        .collect()
}

/// The shipped rules speak of every column of every table of the sample and of nothing else, and withhold what they
/// must.
async fn rules_fit(connection: &mut PgConnection) {
    let tables = shipped(
        "export_tables",
        "table_name,enabled,on_demand,scheduled,time_column,time_unit,time_zone,source_column,metric_column,\
         value_column,tenant_column,denied_cell,strict,format,type_profile,compression,\
         whole_export,scheduled_tenants",
    );
    let columns = shipped(
        "data_column_classification",
        "table_name,column_name,classification,pii_exempt_by,pii_exempt_reason,pii_exempt_until",
    );
    let sources = shipped("actual_data_classifications", "source,classification");
    let metrics = shipped("long_table_data_classifications", "table_name,metric_name,classification");

    let catalog = texts(
        connection,
        "SELECT c.relname || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 ORDER BY 1",
    )
    .await;
    let of = |row: &BTreeMap<String, String>| format!("{}.{}", row["table_name"], row["column_name"]);
    let mut classified: Vec<String> = columns.iter().map(of).collect();
    classified.sort();
    assert_eq!(classified, catalog, "columns classified, and columns there are");
    let mut named: Vec<&str> = tables.iter().map(|row| row["table_name"].as_str()).collect();
    named.sort_unstable();
    assert_eq!(named, TABLES);
    for row in &tables {
        assert_eq!(row["enabled"] == "true", row["table_name"] != "driver_registry", "{row:?}");
        for role in ["time_column", "source_column", "metric_column", "value_column", "tenant_column"] {
            let column = format!("{}.{}", row["table_name"], row[role]);
            assert!(row[role].is_empty() || catalog.contains(&column), "{role} {column}");
        }
    }
    assert!(columns.iter().all(|row| row["table_name"] != "driver_registry" || row["classification"] == "de"));

    // Text and JSON that would leave as they are: attested, or searched for personal data.
    let written = texts(
        connection,
        "SELECT c.relname || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
         AND a.atttypid IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'json'::regtype, 'jsonb'::regtype)",
    )
    .await;
    let searched: Vec<String> = columns
        .iter()
        .filter(|row| matches!(row["classification"].as_str(), "nr" | "mx") && row["pii_exempt_until"].is_empty())
        .map(of)
        .filter(|column| written.contains(column))
        .collect();
    assert_eq!(searched, ["incident.description", "incident.details", "way.tags"]);
    for row in columns.iter().filter(|row| !row["pii_exempt_until"].is_empty()) {
        // Bytes cannot be searched at all.
        assert!(written.contains(&of(row)) || of(row) == "vms.pictogram", "{row:?} is attested, but no text");
        assert_eq!(row["pii_exempt_by"], "data-governance");
        assert!(!row["pii_exempt_reason"].is_empty());
    }

    let code_of = |rows: &[BTreeMap<String, String>], column: &str| -> Vec<(String, String)> {
        rows.iter().map(|row| (row[column].clone(), row["classification"].clone())).collect()
    };
    let expected = [("FUSION", "nr"), ("HERE", "de"), ("TOMTOM", "de")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(code_of(&sources, "source"), expected);
    let mut unlisted = texts(connection, "SELECT DISTINCT metric_name FROM sensor_metric").await;
    let listed = code_of(&metrics, "metric_name");
    for code in ["nr", "de", "hwc"] {
        assert!(listed.iter().any(|(_, of)| of == code), "no metric is {code}");
    }
    unlisted.retain(|name| !listed.iter().any(|(metric, _)| metric == name));
    assert_eq!(unlisted, ["axle_load"]);
}

#[test]
fn the_shipped_rules_are_valid_and_written_as_the_exporter_writes_them() {
    let read = |table: RuleTable| {
        let name = table.file_name();
        let path = format!("{}/classification/{name}", env!("CARGO_MANIFEST_DIR"));
        (name, std::fs::read_to_string(path).unwrap())
    };
    let texts: Vec<(String, String)> = RuleTable::ALL.into_iter().chain([RuleTable::PiiRules]).map(read).collect();
    let files: Vec<RuleFile<'_>> = texts.iter().map(|(name, text)| RuleFile { name, text }).collect();
    let rules = RuleSet::parse(&files).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(rules.notes(), Vec::<String>::new());
    // Row by row as the exporter itself writes them, in an order of their own: that of the tables' columns.
    let sorted = |text: &str| -> Vec<String> {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for (table, (name, text)) in RuleTable::ALL.iter().zip(&texts) {
        assert_eq!(sorted(&rules.to_csv(*table)), sorted(text), "{name}");
    }
    movements_of_single_vehicles(&rules);
}

/// The one table of single vehicles: what is restricted leaves coarser or under a pseudonym of the day, and nothing
/// warns; without a key the identities stay behind.
fn movements_of_single_vehicles(rules: &RuleSet) {
    let column =
        |name: &str, sql_type: &str, kind| CatalogColumn { name: name.to_owned(), sql_type: sql_type.to_owned(), kind };
    let catalog = [
        column("ts", "timestamp with time zone", ColumnKind::Time),
        column("source", "text", ColumnKind::Text),
        column("lon", "double precision", ColumnKind::Number),
        column("lat", "double precision", ColumnKind::Number),
        column("vehicle_id", "uuid", ColumnKind::Uuid),
        column("trip_id", "text", ColumnKind::Text),
    ];
    let compiled = |pseudonyms: bool| {
        let today = NaiveDate::from_ymd_opt(2026, 11, 19).unwrap();
        let context = PolicyContext { today, tenant: classification::Whose::One("default"), pseudonyms };
        Policy::compile(rules, &"probe_speed".parse().unwrap(), &catalog, context).unwrap()
    };
    let policy = compiled(true);
    let care = |name: &str| {
        let column = policy.columns.iter().find(|column| column.name == name).unwrap();
        column.care.iter().map(|care| format!("{}: {}", care.when, care.action)).collect::<Vec<_>>()
    };
    for place in ["lon", "lat"] {
        assert_eq!(care(place), ["every row: generalise: round to 3 decimals"]);
    }
    assert_eq!(care("vehicle_id"), ["every row: pseudonym in 'vehicle' for each day"]);
    assert_eq!(care("trip_id"), ["every row: pseudonym in 'trip' for each day"]);
    assert_eq!(policy.warnings, Vec::<String>::new());
    let names: Vec<String> = compiled(false).columns.into_iter().map(|column| column.name).collect();
    assert_eq!(names, ["ts", "source", "lon", "lat"]);
}

fn luhn_is_valid(card: &str) -> bool {
    let sum: u32 = card
        .chars()
        .rev()
        .filter_map(|c| c.to_digit(10))
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { digit } else { [0, 2, 4, 6, 8, 1, 3, 5, 7, 9][digit as usize] })
        .sum();
    sum.is_multiple_of(10)
}

fn vin_is_valid(vin: &str) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let worth = |c: char| match c {
        '0'..='9' => c as u32 - '0' as u32,
        'A'..='H' => c as u32 - 'A' as u32 + 1,
        'J'..='N' => c as u32 - 'J' as u32 + 1,
        'P' => 7,
        'R' => 9,
        'S'..='Z' => c as u32 - 'S' as u32 + 2,
        _ => panic!("{c} is in no VIN"),
    };
    let sum: u32 = vin.chars().zip(WEIGHTS).map(|(c, weight)| worth(c) * weight).sum();
    vin.chars().nth(8) == if sum % 11 == 10 { Some('X') } else { char::from_digit(sum % 11, 10) }
}

#[test]
fn the_checkers_know_right_from_wrong() {
    for (card, valid) in [("4111 1111 1111 1111", true), ("5500005555555559", true), ("4111111111111112", false)] {
        assert_eq!(luhn_is_valid(card), valid, "{card}");
    }
    for (vin, valid) in [("1M8GDM9AXKP042788", true), ("11111111111111111", true), ("1M8GDM9A1KP042788", false)] {
        assert_eq!(vin_is_valid(vin), valid, "{vin}");
    }
}

#[tokio::test]
async fn a_table_of_somebody_else_is_not_touched() {
    let (_dir, server) = cluster().await;
    let url = server.url("warehouse");
    connect(&url).await.execute("CREATE TABLE incident (mine text)").await.unwrap();
    let error = sample::build(&url, &options()).await.unwrap_err();
    assert!(matches!(&error, SampleError::NotOurs { table } if table == "incident"), "{error}");
    assert_eq!(Failure::from(error).code, ErrorCode::LocalSetupFailed);
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(number(&mut connect(&url).await, tables).await, 1);

    crate::support::calendar::away_from_midnight().await;
    let yesterday = sample::yesterday(&url).await.unwrap();
    let rows = format!("SELECT ((clock_timestamp() AT TIME ZONE 'UTC')::date - '{yesterday}'::date)::bigint");
    assert_eq!(number(&mut connect(&url).await, &rows).await, 1);
    server.stop().await.unwrap();
}
