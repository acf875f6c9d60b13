//! `data-exporter doctor` and `stalled` with the real program.

use data_exporter::jobs::Queue;
use data_exporter::local::s3::{Fault, Operation};
use serde_json::Value;

use crate::support::platform::Platform;
use crate::support::queue::{plan, settings, submit};
use crate::support::{cluster, metadata, s3};

async fn run(mut command: tokio::process::Command) -> (i32, String, String) {
    let done = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

/// Exit code, and verdict and message of each check.
async fn doctor(command: tokio::process::Command) -> (i32, Vec<(String, String, String)>) {
    let (code, out, err) = run(command).await;
    let found: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found = found.as_array().unwrap().iter();
    (code, found.map(|f| (text(&f["check"]), text(&f["verdict"]), text(&f["message"]))).collect())
}

fn verdict<'f>(found: &'f [(String, String, String)], check: &str) -> (&'f str, &'f str) {
    let one = found.iter().find(|(name, ..)| name == check).unwrap_or_else(|| panic!("no {check} in {found:?}"));
    (&one.1, &one.2)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_installation_is_ok_and_nothing_is_left_in_it() {
    let platform = Platform::empty("doctor_sound").await;
    let (code, found) = doctor(platform.program(&["--json", "doctor"])).await;
    assert_eq!(code, 0, "{found:?}");
    for check in [
        "settings",
        "database",
        "clock",
        "migrations",
        "slots",
        "stalled",
        "warehouse",
        "tls",
        "lag",
        "bucket",
        "absent",
        "put",
        "conditional put",
        "head",
        "get",
        "copy",
        "multipart",
        "list uploads",
        "presign",
        "delete",
        "notifications",
    ] {
        assert_eq!(verdict(&found, check).0, "OK", "{found:?}");
    }
    // The tests' role owns the database.
    assert!(verdict(&found, "role").0 == "WARN" && verdict(&found, "role").1.contains("SELECT"), "{found:?}");
    let client = s3::bare_client(&platform.s3.endpoint());
    assert_eq!(client.list_objects_v2().bucket(s3::BUCKET).send().await.unwrap().contents().len(), 0);
    assert_eq!(client.list_multipart_uploads().bucket(s3::BUCKET).send().await.unwrap().uploads().len(), 0);
    let (code, out, _) = run(platform.program(&["doctor"])).await;
    assert_eq!(code, 0);
    assert!(out.lines().all(|line| line.starts_with("OK ") || line.starts_with("WARN")), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_and_the_rest_is_looked_at_all_the_same() {
    let platform = Platform::empty("doctor_wrong").await;
    let with = |key: &str, value: &str| {
        let mut command = platform.program(&["--json", "doctor"]);
        command.env(key, value);
        command
    };
    let away = "postgres://nobody:canary@127.0.0.1:1/none";
    let not_migrated = cluster::create("doctor_not_migrated").await;
    for (command, check, words, sound) in [
        (with("DATABASE_URL", away), "database", "DATABASE_URL", "put"),
        (with("DATABASE_URL", &not_migrated), "migrations", "data-exporter migrate", "put"),
        (with("DATABASE_URL", ""), "database", "DATABASE_URL is not set", "put"),
        (with("EXPORTER_WAREHOUSE_URL", away), "warehouse", "EXPORTER_WAREHOUSE_URL", "put"),
        (with("EXPORTER_BUCKET", "no-such-bucket"), "bucket", "no-such-bucket", "warehouse"),
        (with("AWS_SECRET_ACCESS_KEY", "canary"), "bucket", "STORAGE_DENIED", "warehouse"),
        (with("EXPORTER_MAX_CRASHES", "many"), "settings", "EXPORTER_MAX_CRASHES", "settings"),
    ] {
        let (code, found) = doctor(command).await;
        let (said, message) = verdict(&found, check);
        assert_eq!((code, said), (1, "FAIL"), "{found:?}");
        assert!(message.contains(words), "{message}");
        assert!(!format!("{found:?}").contains("canary"), "a secret in {found:?}");
        assert!(sound == "settings" || verdict(&found, sound).0 == "OK", "{found:?}");
    }
    // A policy that forbids one thing.
    platform.s3.faults().often(Some(Operation::CreateMultipart), 100, Fault::Denied);
    let (code, found) = doctor(platform.program(&["--json", "doctor"])).await;
    platform.s3.faults().clear();
    assert_eq!((code, verdict(&found, "multipart").0), (1, "FAIL"), "{found:?}");
    assert_eq!(verdict(&found, "delete").0, "OK");
    platform.s3.faults().often(Some(Operation::Other), 100, Fault::Denied);
    let (code, found) = doctor(platform.program(&["--json", "doctor"])).await;
    platform.s3.faults().clear();
    assert_eq!((code, verdict(&found, "list uploads").0), (1, "FAIL"), "{found:?}");
    assert_eq!((verdict(&found, "multipart").0, verdict(&found, "delete").0), ("OK", "OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stuck_is_pointed_at_listed_and_cleared_from_a_shell() {
    let platform = Platform::empty("doctor_stalled").await;
    metadata::offer_tables(&platform.metadata).await;
    let job = submit(&platform.metadata, "default").await;
    let queue = Queue::new(platform.metadata.clone(), settings());
    plan(&queue, &[("way", 1)]).await;
    for table in ["export_jobs", "export_job_tables", "export_job_partitions"] {
        let sql = format!("UPDATE {table} SET progress_at = clock_timestamp() - interval '1 hour'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&platform.metadata).await.unwrap();
    }
    let (code, found) = doctor(platform.program(&["--json", "doctor"])).await;
    assert_eq!((code, verdict(&found, "stalled").0), (0, "WARN"));
    assert!(verdict(&found, "stalled").1.contains("stalled list"));
    assert_eq!(verdict(&found, "workers").0, "WARN");

    let id = job.to_string();
    let (code, out, _) = run(platform.program(&["stalled", "list"])).await;
    assert!(code == 0 && out.contains(&id) && out.contains("RUNNING") && out.contains("way"), "{out}");
    let (code, out, _) = run(platform.program(&["--json", "stalled", "clear", &id, "--resubmit"])).await;
    let cleared: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, cleared["state"].as_str(), cleared["alreadyCleared"].as_bool()),
        (0, Some("FAILED"), Some(false))
    );
    let (code, out, err) = run(platform.program(&["--json", "stalled", "list"])).await;
    assert_eq!((code, out.trim()), (0, "[]"), "{err}");
    let (code, _, err) = run(platform.program(&["stalled", "clear", "0190b5f2-5a3e-7cc0-8000-0123456789ab"])).await;
    assert!(code == 1 && err.contains("NOT_FOUND"), "{err}");
    let new = cleared["resubmittedAs"].as_str().unwrap();
    let (code, _, err) = run(platform.program(&["stalled", "clear", new])).await;
    assert!(code == 1 && err.contains("NOT_STALLED"), "{err}");
}
