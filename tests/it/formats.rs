//! CSV and JSONL: readers that are not ours find in them what they find in Parquet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use classification::rules::TypeProfile;
use data_exporter::jobs::{Compression, ExportFormat, FileChoice, FileForm, JobState, JobView, TableState};
use data_exporter::pipeline::encode::encoder;
use data_exporter::storage::ObjectStore;
use data_exporter::warehouse::postgres::PostgresOptions;
use data_exporter::warehouse::{ColumnOptions, GeometryForm, ScanSpec};
use serde_json::{Value, json};

use crate::export_types::{MADE, TYPES};
use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::{Platform, day_range};
use crate::support::warehouse::TestWarehouse;
use crate::support::{python, s3};

/// Texts that a format of lines could trip over.
const TEXTS: &str =
    "(ARRAY['', 'a', ' edges ', 'q\"uo\"te', ',', '\"', E'line\\nend', E'crlf\\r\\n', E'tab\\t', 'ünï 🚗',
    E'\\u202eright', E'bare\\rreturn', E'\\\\N', 'null', 'NULL', E'\\x01', '=1+1', '-1', repeat('x', 70000), NULL])[1 + i % 20]";

async fn table(test: &mut TestWarehouse) -> ScanSpec {
    test.run(format!(
        "CREATE TABLE t AS SELECT i AS id, (i % 7)::smallint AS small, (i::bigint << 40) - 1 AS big,
            CASE WHEN i % 5 > 0 THEN (i * 1.1)::real END AS narrow,
            CASE i % 6 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-Infinity' ELSE i / 7.0 END::float8 AS wide,
            (i * 1234567.891)::numeric(30,5) AS exact, i % 3 = 0 AS flag, {TEXTS} AS text, {TEXTS}::varchar AS again,
            timestamptz '1969-12-31 23:59:59.999999Z' + i * interval '37 hours 1 microsecond' AS at,
            timestamp '2024-02-29' - i * interval '3 days' AS local, date '1582-10-04' + i AS day,
            jsonb_build_object('text', left({TEXTS}, 90), 'n', 1234567.25, 'list', jsonb_build_array(i, NULL)) AS doc,
            (E'{{\\r\"of\":\\r\\n' || to_json(left({TEXTS}, 90)) || E',\\n\"n\": 7\\r}}')::json AS raw
         FROM generate_series(1, 400) AS i"
    ))
    .await;
    test.whole("t").await
}

async fn write(test: &TestWarehouse, scan: &ScanSpec, form: FileForm, folder: &Path) -> PathBuf {
    let batches = test.read(scan).await.unwrap();
    let mut encoder = encoder(form, &batches[0].schema(), &scan.columns, Vec::new()).unwrap();
    let mut file = Vec::new();
    for batch in &batches {
        encoder.write(batch).unwrap();
        file.extend(encoder.drain().concat());
    }
    file.extend(encoder.finish().unwrap().bytes.concat());
    let path = folder.join(format!("t.{}", form.extension()));
    std::fs::write(&path, file).unwrap();
    path
}

/// Every type in both profiles is in a line what it is in Parquet, or its JSON.
#[tokio::test]
async fn lines_hold_every_type_of_both_profiles() {
    let mut test = TestWarehouse::new("formats_types").await;
    let columns: Vec<String> = TYPES.iter().enumerate().map(|(i, (sql_type, _))| format!("c{i} {sql_type}")).collect();
    let values: Vec<&str> = TYPES.iter().map(|(_, value)| *value).collect();
    test.run(format!(
        "{MADE} CREATE TABLE t ({}, shape text); INSERT INTO t VALUES ({}, 'POINT (1 2)'), ({}NULL)",
        columns.join(", "),
        values.join(", "),
        "NULL, ".repeat(TYPES.len())
    ))
    .await;
    let mut scan = test.whole("t").await;
    let wkb = ColumnOptions { geometry: Some(GeometryForm::Wkb), ..ColumnOptions::default() };
    scan.options.insert("shape".to_owned(), wkb);
    let folder = tempfile::tempdir().unwrap();
    for profile in [TypeProfile::Portable, TypeProfile::Native] {
        scan.type_profile = profile;
        let lines = |format| FileForm { format, compression: Compression::None, formula_guard: true };
        let read =
            async |format| std::fs::read_to_string(write(&test, &scan, lines(format), folder.path()).await).unwrap();
        let jsonl = read(ExportFormat::Jsonl).await;
        let rows: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let cell = |sql_type: &str| {
            let place = TYPES.iter().position(|(found, _)| *found == sql_type).unwrap();
            assert_eq!(rows[1][format!("c{place}")], Value::Null, "{sql_type}");
            (rows[0][format!("c{place}")].clone(), place)
        };
        let csv = read(ExportFormat::Csv).await;
        let mut csv = csv::Reader::from_reader(csv.as_bytes());
        let records: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
        assert!(records[1].iter().all(str::is_empty) && records[1].len() == TYPES.len() + 1);
        for (sql_type, want) in [
            ("interval", json!({"months": 1, "days": 2, "microseconds": 11_045_000_000_i64})),
            ("integer[]", json!([1, null, 3])),
            ("text[]", json!(["a", "b, c", null])),
            ("uuid[]", json!(["12345678-0123-4567-89ab-cdefabcdef01"])),
            ("time without time zone[]", json!(["01:02:03.000000"])),
            ("jsonb[]", json!([{"a": [1]}])),
            ("int4range", json!({"lower": 1, "upper": 5, "lower_inc": true, "upper_inc": false, "empty": false})),
            ("public.hstore", json!({"a": "1", "b c": null})),
            ("pair[]", json!([{"a": 1, "B b": "two"}, null])),
        ] {
            let (found, place) = cell(sql_type);
            assert_eq!(found, want, "{sql_type}");
            assert_eq!(serde_json::from_str::<Value>(&records[0][place]).unwrap(), want, "{sql_type} in CSV");
        }
        for (sql_type, want) in [
            ("uuid", "12345678-0123-4567-89ab-cdefabcdef01"),
            ("time without time zone", "01:02:03.456789"),
            ("bytea", "00ff"),
            ("inet", "192.0.2.7"),
        ] {
            let (found, place) = cell(sql_type);
            assert_eq!((found.as_str(), &records[0][place]), (Some(want), want), "{sql_type} {profile:?}");
        }
        let point = "0101000000000000000000f03f0000000000000040";
        assert_eq!((rows[0]["shape"].as_str(), &records[0][TYPES.len()]), (Some(point), point));
    }
}

#[tokio::test]
async fn readers_find_in_lines_what_they_find_in_parquet() {
    let mut test = TestWarehouse::new("formats").await;
    let scan = table(&mut test).await;
    let folder = tempfile::tempdir().unwrap();
    let parquet = write(&test, &scan, FileForm::PARQUET, folder.path()).await;
    let mut turns = Vec::new();
    for format in [ExportFormat::Csv, ExportFormat::Jsonl] {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let file = write(&test, &scan, FileForm { format, compression, formula_guard: false }, folder.path()).await;
            let readers: &[&'static str] = match format {
                ExportFormat::Csv => &["python", "duckdb", "pyarrow"],
                _ => &["python", "duckdb"],
            };
            turns.extend(readers.iter().map(|reader| (*reader, parquet.clone(), file.clone())));
        }
    }
    let guarded = FileForm { format: ExportFormat::Csv, compression: Compression::None, formula_guard: true };
    let other = folder.path().join("guarded");
    std::fs::create_dir(&other).unwrap();
    turns.push(("guarded", parquet, write(&test, &scan, guarded, &other).await));
    assert_eq!(compare(&turns), ["400"; 16]);
}

/// Compares files with the Parquet files of the same rows: the rows of each, by a reader.
fn compare(turns: &[(&str, PathBuf, PathBuf)]) -> Vec<String> {
    let arguments =
        turns.iter().flat_map(|(reader, parquet, file)| [reader.as_ref(), parquet.as_os_str(), file.as_os_str()]);
    python::run("compare_lines.py", arguments).lines().map(str::to_owned).collect()
}

/// The only file of a table, into a folder; and its manifest.
async fn fetch(platform: &Platform, key: &str, folder: &Path) -> (PathBuf, Value) {
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let (directory, name) = key.rsplit_once('/').unwrap();
    let path = folder.join(name);
    std::fs::write(&path, store.get(&s3::key(key)).await.unwrap()).unwrap();
    let manifest = store.get(&s3::key(&format!("{directory}/manifest"))).await.unwrap();
    (path, serde_json::from_slice(&manifest).unwrap())
}

/// The key of a table's only file.
fn key(view: &JobView, table: &str) -> String {
    let found = view.tables.iter().find(|candidate| candidate.name.to_string() == table).unwrap();
    assert_eq!(found.files.len(), 1, "{table}");
    found.files[0].key.clone()
}

/// Two messages of the day that a spreadsheet would take for formulas, one of them with a quote before it.
const FORMULAS: &str = "WITH of_day AS (
        SELECT ctid, row_number() OVER (ORDER BY vms_id DESC) AS place FROM vms
        WHERE shown_at >= '2026-03-02T00:00Z' AND shown_at < '2026-03-03T00:00Z')
    UPDATE vms SET message = CASE place WHEN 1 THEN '=1+1' ELSE '''-x' END FROM of_day
    WHERE vms.ctid = of_day.ctid AND place <= 2";

fn rows(view: &JobView, table: &str) -> String {
    view.tables.iter().find(|candidate| candidate.name.to_string() == table).unwrap().rows.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_in_every_form_hold_what_the_parquet_export_of_the_day_holds() {
    let platform = Platform::sample("formats_export", 3_000).await;
    sqlx::raw_sql(FORMULAS).execute(&platform.warehouse).await.unwrap();
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let folder = tempfile::tempdir().unwrap();
    let parquet = worker.finished(worker.request(&[]).await).await;
    assert_eq!(parquet.state, JobState::Completed, "{:?}", parquet.error);
    let exported = parquet.tables.iter().filter(|table| table.state == TableState::Completed);
    let tables: Vec<String> = exported.map(|table| table.name.to_string()).collect();
    assert!(tables.len() > 5 && tables.contains(&"vms".to_owned()), "{tables:?}");

    let form = |format, compression| FileChoice { format, compression };
    for (choice, extension, own) in [
        (form(Some(ExportFormat::Csv), Some(Compression::Gzip)), "csv.gz", None),
        (form(Some(ExportFormat::Jsonl), Some(Compression::Zstd)), "jsonl.zst", None),
        (form(Some(ExportFormat::Jsonl), None), "jsonl", Some("csv")),
        (form(None, None), "csv", Some("csv")),
    ] {
        sqlx::query("UPDATE export_tables SET format = $1").bind(own).execute(&platform.metadata).await.unwrap();
        let view = worker.finished(worker.request_in(&[], choice).await).await;
        let mut turns = Vec::new();
        assert_eq!((view.state, view.files), (JobState::Completed, choice), "{extension}: {:?}", view.error);
        for table in &tables {
            let place = folder.path().join(format!("{table}-{extension}"));
            std::fs::create_dir(&place).unwrap();
            let (wanted, manifest) = fetch(&platform, &key(&parquet, table), &place).await;
            assert_eq!(manifest["export"]["files"], json!({"format": "parquet", "compression": "zstd"}));
            assert_eq!(manifest["export"].get("guarded"), None, "Parquet has no formulas");
            let (file, manifest) = fetch(&platform, &key(&view, table), &place).await;
            assert!(file.ends_with(format!("{table}_000.{extension}")), "{file:?}");
            let csv = extension.starts_with("csv");
            turns.push((if csv { "guarded" } else { "python" }, wanted, file));
            assert_eq!(rows(&view, table), rows(&parquet, table));
            let (kind, packed) = extension.split_once('.').unwrap_or((extension, "none"));
            let packed = match packed {
                "gz" => "gzip",
                "zst" => "zstd",
                other => other,
            };
            let export = &manifest["export"];
            assert_eq!(export["files"], json!({"format": kind, "compression": packed}));
            assert_eq!(export["gate"]["rows"].to_string(), rows(&view, table));
            assert_eq!(export["policy_hash"].as_str().unwrap().len(), 64);
            match (csv, table.as_str()) {
                (true, "vms") => assert_eq!(export["guarded"], json!({"formulas": true, "values": {"message": 2}})),
                (true, _) => assert_eq!(export["guarded"]["formulas"], true),
                (false, _) => assert_eq!(export.get("guarded"), None),
            }
        }
        let exported: Vec<String> = tables.iter().map(|table| rows(&view, table)).collect();
        assert_eq!(compare(&turns), exported, "{extension}");
    }
    worker.stop().await;
}

/// How the pages of a Parquet file are compressed, the same for all of them.
fn codec(path: &Path) -> String {
    let file = std::fs::File::open(path).unwrap();
    let reader = parquet::file::reader::SerializedFileReader::new(file).unwrap();
    let metadata = parquet::file::reader::FileReader::metadata(&reader).clone();
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let mut codecs: Vec<String> = columns
        .map(|column| format!("{:?}", column.compression()).to_lowercase())
        .map(|codec| codec.split('(').next().unwrap().to_owned())
        .collect();
    codecs.dedup();
    assert_eq!(codecs.len(), 1, "{codecs:?}");
    codecs.remove(0).replace("uncompressed", "none")
}

/// How the bytes of a file of lines begin tells how it is compressed.
fn packed(path: &Path) -> &'static str {
    match std::fs::read(path).unwrap().as_slice() {
        [0x1f, 0x8b, ..] => "gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        _ => "none",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tables_files_are_compressed_as_its_row_says() {
    let platform = Platform::sample("formats_own", 2_000).await;
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let folder = tempfile::tempdir().unwrap();
    let nothing = FileChoice::default();
    let csv = FileChoice { format: Some(ExportFormat::Csv), compression: None };
    let plain = FileChoice { format: Some(ExportFormat::Csv), compression: Some(Compression::None) };
    for (place, (own, asked, form)) in [
        ((None, None), nothing, ("parquet", "zstd")),
        ((None, Some("snappy")), nothing, ("parquet", "snappy")),
        ((Some("parquet"), Some("gzip")), nothing, ("parquet", "gzip")),
        ((Some("parquet"), Some("none")), nothing, ("parquet", "none")),
        ((None, Some("zstd")), nothing, ("parquet", "zstd")),
        ((Some("csv"), Some("none")), nothing, ("csv", "none")),
        ((Some("csv"), Some("gzip")), nothing, ("csv", "gzip")),
        ((Some("csv"), Some("zstd")), nothing, ("csv", "zstd")),
        ((Some("jsonl"), Some("none")), nothing, ("jsonl", "none")),
        ((Some("jsonl"), Some("gzip")), nothing, ("jsonl", "gzip")),
        ((Some("jsonl"), Some("zstd")), nothing, ("jsonl", "zstd")),
        // The request's format is the table's own; it is another; it says the compression too.
        ((Some("csv"), Some("gzip")), csv, ("csv", "gzip")),
        ((Some("jsonl"), Some("gzip")), csv, ("csv", "none")),
        ((Some("csv"), Some("zstd")), plain, ("csv", "none")),
    ]
    .into_iter()
    .enumerate()
    {
        sqlx::query("UPDATE export_tables SET format = $1, compression = $2")
            .bind(own.0)
            .bind(own.1)
            .execute(&platform.metadata)
            .await
            .unwrap();
        let view = worker.finished(worker.request_in(&["vms"], asked).await).await;
        assert_eq!((view.state, view.files), (JobState::Completed, asked), "{own:?}: {:?}", view.error);
        let to = folder.path().join(place.to_string());
        std::fs::create_dir(&to).unwrap();
        let (file, manifest) = fetch(&platform, &key(&view, "vms"), &to).await;
        assert_eq!(manifest["export"]["files"], json!({"format": form.0, "compression": form.1}), "{own:?}");
        let found = if form.0 == "parquet" { codec(&file) } else { packed(&file).to_owned() };
        assert_eq!(found, form.1, "{own:?} asked for {asked:?}");
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_are_asked_for_over_graphql_and_on_the_command_line() {
    let platform = Platform::sample("formats_asked", 2_000).await;
    sqlx::raw_sql(FORMULAS).execute(&platform.warehouse).await.unwrap();
    let service = platform.serve("all", "api,worker", &[]).await;
    let (start, end) = day_range();
    let request =
        |form: &str| format!("mutation {{ requestData(startTime: {start}, endTime: {end}, tables: [\"vms\"]{form}) }}");
    for (form, words) in [
        (", format: CSV, compression: SNAPPY", "csv files are not compressed with snappy"),
        (", format: JSONL, compression: SNAPPY", "jsonl files are not compressed with snappy"),
        (", compression: GZIP", "without a format"),
    ] {
        let answer = service.ask(&request(form)).await;
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "BAD_REQUEST", "{form}: {answer}");
        assert!(error["message"].as_str().unwrap().contains(words), "{form}: {answer}");
    }
    let (jobs,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM export_jobs").fetch_one(&platform.metadata).await.unwrap();
    assert_eq!(jobs, 0, "nothing that cannot be is stored");
    for (form, format, compression, media_type) in [
        (", format: CSV", json!("CSV"), Value::Null, "text/csv; charset=utf-8; header=present"),
        (", format: CSV, compression: GZIP", json!("CSV"), json!("GZIP"), "application/gzip"),
        (", format: JSONL", json!("JSONL"), Value::Null, "application/x-ndjson"),
        (", format: JSONL, compression: ZSTD", json!("JSONL"), json!("ZSTD"), "application/zstd"),
        ("", Value::Null, Value::Null, "application/vnd.apache.parquet"),
    ] {
        let answer = service.ask(&request(form)).await;
        let id = answer["data"]["requestData"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let status = service.finished(&id).await;
        assert_eq!(status["status"], "Completed", "{status}");
        let query = format!("mutation {{ requestStatus(requestId: \"{id}\") {{ format compression }} }}");
        let said = service.ask(&query).await["data"]["requestStatus"].take();
        assert_eq!(said, json!({"format": format, "compression": compression}));
        let link = status["dataRequestDownloadLinks"]["vms"][0].as_str().unwrap();
        let answer = reqwest::get(link).await.unwrap();
        assert_eq!(answer.headers()["content-type"], media_type, "{form}");
    }

    // The shell, with the guard switched off. Whoever plans a job decides, and the service would be quicker now and then.
    drop(service);
    let (start, end) = (start.to_string(), end.to_string());
    let arguments = ["--json", "export", "--start", &start, "--end", &end, "--table", "vms"];
    let mut command = platform.program(&[&arguments[..], &["--format", "csv", "--compression", "gzip"]].concat());
    let output = command.env("EXPORTER_CSV_FORMULA_GUARD", "false").output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let link = answer["tables"]["vms"]["links"][0].as_str().unwrap();
    let place = link.split('?').next().unwrap().split_once(&format!("/{}/", s3::BUCKET)).unwrap().1.to_owned();
    assert!(place.ends_with("/vms_000.csv.gz"), "{place}");
    let folder = tempfile::tempdir().unwrap();
    let (file, manifest) = fetch(&platform, &place, folder.path()).await;
    assert_eq!(manifest["export"]["guarded"], json!({"formulas": false, "values": {}}));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()), &mut text)
        .unwrap();
    assert!(text.contains("'-x") && !text.contains("''-x"), "texts are what they are");
    let command = platform.program(&[&arguments[..], &["--compression", "gzip"]].concat()).output().await.unwrap();
    assert_eq!(command.status.code(), Some(2), "a compression without a format");
}
