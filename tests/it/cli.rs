//! The command line: what it says, where it says it, and with which exit code it ends.

use std::process::Output;

use serde_json::Value;

use crate::support::platform::{Platform, bare_program, day_range};
use crate::support::{cluster, s3};

async fn run(mut command: tokio::process::Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test]
async fn help_teaches_and_wrong_usage_is_exit_code_2() {
    let (code, out, _) = run(bare_program(&["--help"])).await;
    assert_eq!(code, 0);
    for command in ["demo", "serve", "migrate", "export", "classification", "schema"] {
        assert!(out.contains(command), "{command} in {out}");
    }
    for arguments in
        [&["exprot"][..], &["export"], &["export", "--start", "x", "--end", "1"], &["classification", "apply"]]
    {
        let (code, out, err) = run(bare_program(arguments)).await;
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains("--help"), "{err}");
    }
}

#[tokio::test]
async fn the_schema_is_the_file() {
    let (code, out, _) = run(bare_program(&["schema"])).await;
    assert_eq!(code, 0);
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql")).unwrap();
    assert_eq!(out.trim_end(), file.trim_end());
}

#[tokio::test]
async fn everything_wrong_with_the_settings_is_said_at_once() {
    let mut serve = bare_program(&["serve"]);
    serve.env("EXPORTER_BIND", "0.0.0.0:1").env("EXPORTER_AUTH", "none").env("EXPORTER_MAX_ATTEMPTS", "many");
    let (code, out, err) = run(serve).await;
    assert_eq!((code, out.as_str()), (2, ""));
    for key in [
        "DATABASE_URL",
        "EXPORTER_WAREHOUSE_URL",
        "EXPORTER_BUCKET",
        "EXPORTER_MAX_ATTEMPTS",
        "EXPORTER_AUTH",
        "SETTINGS_INVALID",
    ] {
        assert!(err.contains(key), "{key} in {err}");
    }

    let (code, _, err) = run(bare_program(&["--json", "migrate"])).await;
    assert_eq!(code, 2);
    let error: Value = serde_json::from_str(err.trim()).unwrap();
    assert_eq!(error["error"]["code"], "SETTINGS_INVALID");
}

#[tokio::test]
async fn what_cannot_work_is_said_at_start() {
    let platform = Platform::empty("cli_start").await;
    let with = |key: &'static str, value: &str| {
        let mut command = platform.program(&["serve"]);
        command.env("EXPORTER_BIND", "127.0.0.1:0").env(key, value);
        command
    };
    let wrong_password = platform.warehouse_url.replacen(':', ":/", 0).replace('@', "x@");
    let nobody = "postgres://nobody:canary@127.0.0.1:1/none";
    for (command, expected, words) in [
        (with("EXPORTER_BUCKET", "no-such-bucket"), 1, "no-such-bucket"),
        (with("AWS_SECRET_ACCESS_KEY", "canary"), 1, "STORAGE_DENIED"),
        (with("EXPORTER_WAREHOUSE_URL", &wrong_password), 1, "WAREHOUSE_DENIED"),
        (with("DATABASE_URL", nobody), 1, "METADATA_UNAVAILABLE"),
        (with("DATABASE_URL", &cluster::create("cli_not_migrated").await), 2, "data-exporter migrate"),
    ] {
        let (code, _, err) = run(command).await;
        assert_eq!(code, expected, "{words}: {err}");
        assert!(err.contains(words), "{words} in {err}");
        assert!(!err.contains("canary"), "a secret in {err}");
    }
}

#[tokio::test]
async fn a_warehouse_that_is_away_at_start_fails_the_request_and_not_the_service() {
    let platform = Platform::sample("cli_away", 2_000).await;
    let away =
        [("EXPORTER_WAREHOUSE_URL", "postgres://nobody:canary@127.0.0.1:1/none"), ("EXPORTER_MAX_ATTEMPTS", "1")];
    let service = platform.serve("all", "api,worker", &away).await;
    let id = service.request(day_range()).await;
    let status = service.finished(&id).await;
    assert_eq!(status["status"], "Failed");
    assert_eq!(status["error"]["code"], "WAREHOUSE_UNAVAILABLE");
    assert_eq!(status["dataRequestDownloadLinks"], Value::Object(serde_json::Map::new()));
    assert!(!service.logged().contains("canary"), "a secret in the log");
}

#[tokio::test]
async fn rules_are_applied_whole_or_not_at_all() {
    let platform = Platform::empty("cli_rules").await;
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/classification");
    let (code, out, err) = run(platform.program(&["classification", "diff", shipped])).await;
    assert!(code == 0 && out.contains("rules would change"), "{out}{err}");
    let (code, out, err) = run(platform.program(&["classification", "apply", shipped])).await;
    assert!(code == 0 && out.contains("rules changed"), "{out}{err}");
    let (code, out, _) = run(platform.program(&["classification", "apply", shipped])).await;
    assert_eq!((code, out.trim()), (0, "nothing changes"));
    let (actor, audited): (String, i64) =
        sqlx::query_as("SELECT min(actor), count(*) FROM rules_audit").fetch_one(&platform.metadata).await.unwrap();
    assert!(audited > 50 && !actor.is_empty(), "every change is audited");
    let revision = "SELECT revision FROM rules_revision";
    let before: i64 = sqlx::query_scalar(revision).fetch_one(&platform.metadata).await.unwrap();

    // Two lines are wrong: both are named, and nothing is changed.
    let folder = platform.folder.path().join("rules");
    std::fs::create_dir(&folder).unwrap();
    for entry in std::fs::read_dir(shipped).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "csv" || extension == "toml") {
            std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    std::fs::write(
        folder.join("actual_data_classifications.csv"),
        "source,classification\nFUSION,nr\nHERE,maybe\nHERE,de\nHERE,de\n",
    )
    .unwrap();
    let (code, out, err) = run(platform.program(&["classification", "apply", folder.to_str().unwrap()])).await;
    assert_eq!((code, out.as_str()), (2, ""));
    for words in ["actual_data_classifications.csv:3", "maybe", "actual_data_classifications.csv:5", "RULES_INVALID"] {
        assert!(err.contains(words), "{words} in {err}");
    }
    assert_eq!(sqlx::query_scalar::<_, i64>(revision).fetch_one(&platform.metadata).await.unwrap(), before);
}

#[tokio::test]
async fn plain_sql_is_held_to_the_same_rules() {
    let platform = Platform::empty("cli_sql").await;
    for wrong in [
        "INSERT INTO data_column_classification (table_name, column_name, classification) VALUES ('way', 'x', 'ok')",
        "INSERT INTO data_column_classification (table_name, column_name, pii_exempt_by) VALUES ('way', 'x', 'me')",
        "INSERT INTO export_tables (table_name) VALUES ('')",
        "INSERT INTO export_tables (table_name, metric_column) VALUES ('way', 'metric')",
        "INSERT INTO export_tables (table_name, time_unit) VALUES ('way', 'fortnight')",
        "INSERT INTO column_restrictions (table_name, name, action) VALUES ('way', 'x', 'hide')",
    ] {
        assert!(sqlx::raw_sql(wrong).execute(&platform.metadata).await.is_err(), "{wrong}");
    }
    sqlx::raw_sql("INSERT INTO actual_data_classifications VALUES ('FUSION', 'nr'); UPDATE actual_data_classifications SET classification = 'de'")
        .execute(&platform.metadata)
        .await
        .unwrap();
    let audited: Vec<(String, Option<Value>, Option<Value>)> =
        sqlx::query_as("SELECT operation, before, after FROM rules_audit ORDER BY id")
            .fetch_all(&platform.metadata)
            .await
            .unwrap();
    assert_eq!(audited.len(), 2);
    assert_eq!(audited[1].1.as_ref().unwrap()["classification"], "nr");
    assert_eq!(audited[1].2.as_ref().unwrap()["classification"], "de");
}

#[tokio::test(flavor = "multi_thread")]
async fn export_works_its_own_request_and_says_how_it_went() {
    let platform = Platform::sample("cli_export", 4_000).await;
    let (start, end) = day_range();
    let (start, end) = (start.to_string(), end.to_string());
    let range = ["--start", start.as_str(), "--end", end.as_str()];
    let (code, out, err) =
        run(platform.program(&[&["--json", "export"], &range[..], &["--table", "vms", "--table", "way"]].concat()))
            .await;
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!(report["status"], "Completed");
    let tables = report["tables"].as_object().unwrap();
    assert_eq!(tables.keys().collect::<Vec<_>>(), ["vms", "way"]);
    let link = tables["vms"]["links"][0].as_str().unwrap();
    assert_eq!(reqwest::get(link).await.unwrap().status(), 200);

    let (code, out, err) =
        run(platform.program(&[&["export"], &range[..], &["--table", "driver_registry"]].concat())).await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("driver_registry") && err.contains("TABLE_NOT_OFFERED"), "{err}");

    sqlx::raw_sql("ALTER TABLE vms ADD COLUMN reach circle").execute(&platform.warehouse).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO data_column_classification VALUES ('vms', 'reach', 'nr', 'test', 'numbers', '2099-12-31')",
    )
    .execute(&platform.metadata)
    .await
    .unwrap();
    let (code, out, _) =
        run(platform.program(&[&["export"], &range[..], &["--table", "vms", "--table", "way"]].concat())).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("Failed") && out.contains("TYPE_UNSUPPORTED") && out.contains("way_000.parquet"), "{out}");
    // Another process's work was not touched: the bucket name appears in links only.
    assert!(out.contains(s3::BUCKET));
}
