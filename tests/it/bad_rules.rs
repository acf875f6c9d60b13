//! Rules and keys that cannot be carried out: said with what and where, and nothing half applied.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use data_exporter::jobs::{FileForm, JobState};
use data_exporter::warehouse::postgres::PostgresOptions;
use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::support::files;
use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::Platform;

async fn run(platform: &Platform, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = platform.program(arguments).output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A process that works does not begin without the key that it was told of; and says why without a byte of it.
#[tokio::test]
async fn a_key_that_cannot_be_used_keeps_a_worker_from_starting() {
    const KEY: &str = "canary-key-0123456789abcdefghijk";
    let platform = Platform::empty("bad_keys").await;
    let path = platform.folder.path().join("key");
    for (text, mode, words) in [
        (None, 0o600, "make a key with"),
        (Some(KEY), 0o644, "mode 644); run: chmod 600"),
        (Some(&KEY[1..]), 0o600, "has 31 bytes; it must have at least 32"),
        (Some(""), 0o600, "has 0 bytes"),
    ] {
        let _ = std::fs::remove_file(&path);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut command = platform.program(&["serve"]);
        command.env("EXPORTER_PSEUDONYM_KEY_FILE", &path).env("EXPORTER_BIND", "127.0.0.1:0");
        let output = command.output().await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        for words in [words, "EXPORTER_PSEUDONYM_KEY_FILE", &path.display().to_string()] {
            assert!(said.contains(words), "{words} in {said}");
        }
        assert!(!said.contains("canary") && !said.contains("0123456789"), "{said}");
    }
}

/// Types are known when a table is planned: what cannot be restricted is denied, and every way to ask says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_restriction_for_a_type_that_it_cannot_serve_denies_and_is_told() {
    let platform = Platform::empty("unfit").await;
    let table = "CREATE TABLE reading (at timestamptz, src text, metric text, value float8, number bigint, place text);
        INSERT INTO reading VALUES ('2026-03-02T12:00Z', 'A', 'free', 1.5, 4711, 'x'),
                                   ('2026-03-02T12:00Z', 'A', 'careful', 2.5, 4712, 'y'),
                                   ('2026-03-02T12:00Z', 'B', 'asked', 3.5, 4713, 'z')";
    sqlx::raw_sql(table).execute(&platform.warehouse).await.unwrap();
    let rules = "
        INSERT INTO export_tables (table_name, time_column, source_column, metric_column, value_column)
            VALUES ('reading', 'at', 'src', 'metric', 'value');
        INSERT INTO data_column_classification
            VALUES ('reading', 'at', 'nr'), ('reading', 'value', 'nr'), ('reading', 'number', 'hwc'), ('reading', 'place', 'nr');
        INSERT INTO long_table_data_classifications
            VALUES ('reading', 'free', 'nr'), ('reading', 'careful', 'hwc'), ('reading', 'asked', 'mx');
        INSERT INTO actual_data_classifications VALUES ('A', 'nr'), ('B', 'hwc');
        INSERT INTO column_restrictions (table_name, kind, name, action)
            VALUES ('reading', 'column', 'number', 'mask_last4'), ('reading', 'metric', 'careful', 'mask_last4'),
                   ('reading', 'source', 'B', 'redact')";
    sqlx::raw_sql(rules).execute(&platform.metadata).await.unwrap();
    let told = [
        ("column 'number'", "mask_last4 does not fit a column of type bigint: it serves text"),
        ("metric 'careful'", "mask_last4 does not fit a column of type double precision"),
        ("source 'B'", "redact does not fit a column of type double precision"),
    ];

    // Before anything runs.
    let (code, check, _) = run(&platform, &["classification", "check", "--json"]).await;
    let check: Value = serde_json::from_str(&check).unwrap();
    assert_eq!(code, Some(1), "{check}");
    let problems: Vec<&str> =
        check["problems"].as_array().unwrap().iter().filter_map(|problem| problem["message"].as_str()).collect();
    let (_, explained, _) = run(&platform, &["classification", "explain", "reading"]).await;
    for (what, why) in told {
        let found = problems.iter().filter(|problem| problem.contains(what) && problem.contains(why)).count();
        assert_eq!(found, 1, "{what} in {problems:?}");
        assert!(explained.contains(why), "{why} in {explained}");
    }

    // And in the export, with what is left of it.
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let view = files::export(&worker, &["reading"], FileForm::PARQUET).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    let found = files::read(&files::fetch(&platform, &view, "reading", platform.folder.path()).await);
    assert_eq!(found[0].columns, ["at", "value", "place"]);
    let places: Vec<Option<&str>> = found[0].rows.iter().map(|row| row[2].as_deref()).collect();
    assert_eq!(places, [Some("x")]);
    let said = found[0].metadata.join("\n");
    assert!(said.contains(told[0].1), "{said}");
    worker.stop().await;
}

/// Several things are wrong with one set of files: all are told, the rules stay, and no revision is spent.
#[tokio::test]
async fn of_wrong_rules_nothing_is_applied() {
    let platform = Platform::sample("bad_rules", 2_000).await;
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/classification");
    let folder = platform.folder.path().join("rules");
    let state = || async {
        let mut state = Vec::new();
        for table in [
            "export_tables",
            "data_column_classification",
            "actual_data_classifications",
            "long_table_data_classifications",
            "column_restrictions",
            "pii_rules",
            "rules_revision",
            "rules_audit",
        ] {
            let rows = format!(
                "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} AS t"
            );
            let rows: String = sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(&platform.metadata).await.unwrap();
            state.push(rows);
        }
        state
    };
    let before = state().await;
    // A good change stands in another file each time: alone it would be applied.
    for (file, line, words) in [
        ("data_column_classification.csv", "way,name,maybe,,,", "'maybe' is not a classification"),
        ("data_column_classification.csv", "way,ref,nr,,,", "data_column_classification.csv:"),
        ("long_table_data_classifications.csv", "way,flow,nr", "no metric_column"),
        ("column_restrictions.csv", "way,column,name,blur,{},,,", "blur"),
        ("column_restrictions.csv", "way,column,name,truncate,{},,,", "truncate"),
        ("pii.toml", "[[patterns]]\nname = \"WRONG\"\nregex = \"[\"\nfinds = [\"x\"]", "regex of WRONG"),
        ("pii.toml", "[[patterns]]\nname = \"EMPTY\"\nregex = \"x*\"\nfinds = [\"x\"]", "matches the empty text"),
    ] {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        for entry in std::fs::read_dir(shipped).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "csv" || extension == "toml") {
                std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
            }
        }
        for (file, line) in [("actual_data_classifications.csv", "SOMEBODY,nr"), (file, line)] {
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            std::fs::write(folder.join(file), format!("{text}{line}\n")).unwrap();
        }
        let (code, out, said) = run(&platform, &["classification", "apply", folder.to_str().unwrap()]).await;
        assert_eq!(code, Some(2), "{out}{said}");
        assert!(said.contains(words) && said.contains(file), "{words} in {said}");
        assert_eq!(state().await, before, "{file}: {line}");
    }
}

/// A rule about a table or a column that the warehouse does not have holds nothing up, and is told.
#[tokio::test]
async fn rules_about_what_is_not_there_are_told() {
    let platform = Platform::sample("rules_of_nothing", 2_000).await;
    sqlx::raw_sql(
        "INSERT INTO export_tables (table_name) VALUES ('nowhere');
         INSERT INTO data_column_classification VALUES ('way', 'never_was', 'nr')",
    )
    .execute(&platform.metadata)
    .await
    .unwrap();
    let (code, said, _) = run(&platform, &["classification", "check"]).await;
    assert_eq!(code, Some(1), "{said}");
    for words in ["nowhere", "TABLE_NOT_FOUND", "'never_was'"] {
        assert!(said.contains(words), "{words} in {said}");
    }
}
