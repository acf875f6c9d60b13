//! Drift: what planning, `check` and `accept` make of a warehouse whose columns have changed under their rules.

use std::sync::Arc;

use data_exporter::jobs::{JobState, JobView};
use data_exporter::warehouse::postgres::PostgresOptions;
use serde_json::Value;

use crate::support::calendar;
use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::{Platform, day_range};

async fn warehouse(platform: &Platform, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&platform.warehouse).await.unwrap();
}

async fn rules(platform: &Platform, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&platform.metadata).await.unwrap();
}

/// What `classification …` says: exit code, its JSON, and what it says to people about errors.
async fn classification(platform: &Platform, arguments: &[&str]) -> (i32, Value, String) {
    let done = platform.program(&[&["--json", "classification"], arguments].concat()).output().await.unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    (done.status.code().unwrap(), serde_json::from_slice(&done.stdout).unwrap_or_default(), said)
}

fn failure(view: &JobView, table: &str) -> Option<(String, String)> {
    let table = view.tables.iter().find(|candidate| candidate.name.to_string() == table).unwrap();
    table.error.as_ref().map(|error| (error.code.clone(), error.message.clone()))
}

async fn columns_of(platform: &Platform, job: data_exporter::jobs::JobId, table: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT planned ->> 'name' FROM export_job_tables, jsonb_array_elements(plan -> 'policy' -> 'columns') AS planned
         WHERE job_id = $1 AND table_name = $2",
    )
    .bind(job.0)
    .bind(table)
    .fetch_all(&platform.metadata)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_left_and_is_retyped_fails_its_table_until_somebody_looks() {
    let platform = Platform::sample("drift_retyped", 4_000).await;
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let observed = "SELECT sql_type FROM observed_columns WHERE (table_name, column_name) = ('way', 'lanes')";
    let type_of =
        || async { sqlx::query_scalar::<_, String>(observed).fetch_optional(&platform.metadata).await.unwrap() };
    assert_eq!(type_of().await, None);
    let view = worker.finished(worker.request(&["way", "vms"]).await).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    let was = type_of().await.unwrap();
    let (code, check, _) = classification(&platform, &["check"]).await;
    assert_eq!((code, &check["problems"]), (0, &Value::Array(Vec::new())), "{check}");

    warehouse(&platform, "ALTER TABLE way ALTER COLUMN lanes TYPE numeric(30, 10)").await;
    let view = worker.finished(worker.request(&["way", "vms"]).await).await;
    let (code, message) = failure(&view, "way").unwrap();
    assert_eq!((view.state, code.as_str()), (JobState::Failed, "COLUMN_RETYPED"));
    for words in ["'lanes'", &was, "numeric(30,10) now", "data-exporter classification accept way lanes"] {
        assert!(message.contains(words), "{words} in {message}");
    }
    assert_eq!(failure(&view, "vms"), None, "the other table goes on");
    assert_eq!(type_of().await.unwrap(), was, "failing does not make it known");
    let (code, check, _) = classification(&platform, &["check"]).await;
    assert_eq!((code, &check["problems"][0]["code"]), (1, &Value::from("COLUMN_RETYPED")), "{check}");
    assert_eq!(check["columns"][0]["kind"], "RETYPED");
    let (code, explained, _) = classification(&platform, &["explain", "way"]).await;
    assert_eq!((code, &explained["refused"]["code"]), (0, &Value::from("COLUMN_RETYPED")), "{explained}");

    // A column that does not leave may have any type.
    warehouse(&platform, "ALTER TABLE vms ALTER COLUMN operator TYPE varchar(90)").await;
    // Looked at, and accepted by the command that the message names.
    let (code, accepted, said) = classification(&platform, &["accept", "way", "lanes"]).await;
    assert_eq!((code, &accepted["accepted"][0]["sqlType"]), (0, &Value::from("numeric(30,10)")), "{said}");
    assert_eq!(type_of().await.as_deref(), Some("numeric(30,10)"));
    let view = worker.finished(worker.request(&["way", "vms"]).await).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    // Classifying by plain SQL accepts as well.
    warehouse(&platform, "ALTER TABLE way ALTER COLUMN length_m TYPE numeric(12, 3)").await;
    let view = worker.finished(worker.request(&["way"]).await).await;
    assert_eq!(failure(&view, "way").unwrap().0, "COLUMN_RETYPED");
    rules(&platform, "UPDATE data_column_classification SET classification = 'nr' WHERE column_name = 'length_m'")
        .await;
    let view = worker.finished(worker.request(&["way"]).await).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    let (actor, actions): (String, i64) = sqlx::query_as(
        "SELECT min(actor), count(*) FROM admin_audit WHERE action = 'classification.accept' AND target = 'way lanes'",
    )
    .fetch_one(&platform.metadata)
    .await
    .unwrap();
    assert!(actions == 1 && !actor.is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_missing_and_renamed_columns_are_left_out_and_said_and_strict_tables_fail() {
    let platform = Platform::sample("drift_columns", 4_000).await;
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let before = worker.request(&["way"]).await;
    worker.finished(before).await;
    assert!(columns_of(&platform, before, "way").await.contains(&"max_speed".to_owned()));
    // What is changed, then what check says: exit code, kind, column, type, suspicion, renamed from.
    type Found = (&'static str, &'static str, Option<&'static str>, Option<&'static str>, Option<&'static str>);
    let cases: &[(&str, i32, &[Found])] = &[
        (
            "ALTER TABLE way ADD COLUMN driver_email text",
            1,
            &[("NEW", "driver_email", Some("text"), Some("EMAIL"), None)],
        ),
        (
            "ALTER TABLE way DROP COLUMN driver_email; ALTER TABLE way DROP COLUMN oneway",
            0,
            &[("MISSING", "oneway", None, None, None)],
        ),
        (
            "ALTER TABLE way RENAME COLUMN length_m TO metres",
            1,
            &[
                ("NEW", "metres", Some("*"), None, Some("length_m")),
                ("MISSING", "length_m", None, None, None),
                ("MISSING", "oneway", None, None, None),
            ],
        ),
    ];
    for (statement, exit, expected) in cases {
        warehouse(&platform, statement).await;
        let (code, check, said) = classification(&platform, &["check"]).await;
        assert_eq!(code, *exit, "{statement}: {check} {said}");
        let columns = check["columns"].as_array().unwrap();
        assert_eq!(columns.len(), expected.len(), "{statement}: {check}");
        for (column, (kind, name, sql_type, suspected, renamed)) in columns.iter().zip(*expected) {
            let text = |key: &str| column[key].as_str();
            assert_eq!((text("table"), text("kind"), text("column")), (Some("way"), Some(*kind), Some(*name)));
            assert!(text("sqlType") == *sql_type || *sql_type == Some("*"), "{column}");
            assert_eq!((text("suspected"), text("renamedFrom")), (*suspected, *renamed), "{column}");
        }
        let job = worker.request(&["way"]).await;
        let view = worker.finished(job).await;
        assert_eq!(view.state, JobState::Completed, "{statement}: {:?}", view.error);
        let left = columns_of(&platform, job, "way").await;
        assert!(expected.iter().all(|(_, name, ..)| !left.contains(&(*name).to_owned())), "{statement}: {left:?}");
    }
    rules(&platform, "UPDATE export_tables SET strict = true WHERE table_name = 'way'").await;
    let view = worker.finished(worker.request(&["way"]).await).await;
    let (code, message) = failure(&view, "way").unwrap();
    assert!(code == "RULES_INVALID" && message.contains("metres"), "{message}");
    let (code, explained, _) = classification(&platform, &["explain", "way"]).await;
    assert_eq!((code, &explained["refused"]["code"]), (0, &Value::from("RULES_INVALID")));
    assert!(explained["columns"].as_array().unwrap().len() > 5, "what would leave is shown all the same");

    // A table that is gone.
    warehouse(&platform, "DROP TABLE cctv").await;
    let (code, check, _) = classification(&platform, &["check"]).await;
    let gone = |problem: &Value| problem["table"] == "cctv" && problem["code"] == "TABLE_NOT_FOUND";
    assert!(code == 1 && check["problems"].as_array().unwrap().iter().any(gone), "{check}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_counted_and_logged_once() {
    let platform = Platform::sample("drift_alerts", 2_000).await;
    warehouse(&platform, "ALTER TABLE vms ADD COLUMN plate text, DROP COLUMN pictogram").await;
    let service = platform.serve("all", "api,worker", &[("EXPORTER_LOG_FORMAT", "json")]).await;
    for _ in 0..3 {
        let id = service.request(day_range()).await;
        assert_eq!(service.finished(&id).await["status"], "Completed");
    }
    let lines: Vec<Value> = service
        .logged()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["message"].as_str().is_some_and(|message| message.contains("have come apart")))
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["level"], &lines[0]["table"]), (&Value::from("WARN"), &Value::from("vms")));
    assert_eq!(lines[0]["unclassified"], "[\"plate\"]");
    assert_eq!(lines[0]["missing"], "[\"pictogram\"]");
    let metrics = reqwest::get(service.url("/metrics")).await.unwrap().text().await.unwrap();
    for line in [
        "exporter_unclassified_columns{table=\"vms\"} 1",
        "exporter_missing_columns{table=\"vms\"} 1",
        "exporter_retyped_columns{table=\"vms\"} 0",
        "exporter_unclassified_columns{table=\"way\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    // What is mended is no drift any more.
    warehouse(&platform, "ALTER TABLE vms DROP COLUMN plate").await;
    let id = service.request(day_range()).await;
    service.finished(&id).await;
    let metrics = reqwest::get(service.url("/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("exporter_unclassified_columns{table=\"vms\"} 0"));
}

#[tokio::test]
async fn check_warns_of_what_ends_soon_and_says_when_the_warehouse_is_away() {
    calendar::away_from_midnight().await;
    let platform = Platform::sample("drift_check", 2_000).await;
    rules(
        &platform,
        "UPDATE data_column_classification SET pii_exempt_until = current_date + 10
             WHERE (table_name, column_name) = ('cctv', 'name');
         UPDATE data_column_classification SET pii_exempt_until = current_date - 1
             WHERE (table_name, column_name) = ('way', 'ref');
         UPDATE data_column_classification SET pii_exempt_until = current_date + 15
             WHERE (table_name, column_name) = ('way', 'name');
         UPDATE column_restrictions SET expires_at = current_date + 14 WHERE (table_name, name) = ('probe_speed', 'lon');
         UPDATE column_restrictions SET expires_at = current_date WHERE (table_name, name) = ('probe_speed', 'lat');
         UPDATE column_restrictions SET expires_at = current_date - 1 WHERE (table_name, name) = ('probe_speed', 'trip_id')",
    )
    .await;
    let (code, check, _) = classification(&platform, &["check"]).await;
    assert_eq!(code, 0, "{check}");
    let warnings: Vec<&str> = check["warnings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for (words, told) in [
        (["'name' of 'cctv'", "ends with"], true),
        (["'ref' of 'way'", "ended on"], true),
        (["'lon' of 'probe_speed'", "ends with"], true),
        // Its last day is one on which it counts.
        (["'lat' of 'probe_speed'", "ends with"], true),
        (["'trip_id' of 'probe_speed'", "ended on"], true),
        (["'name' of 'way'", "attestation"], false),
    ] {
        let found = warnings.iter().any(|warning| words.iter().all(|word| warning.contains(word)));
        assert_eq!(found, told, "{words:?} in {warnings:?}");
    }
    for (setting, expected, words) in [
        (Some("postgres://nobody:canary@127.0.0.1:1/none"), 1, "WAREHOUSE_UNAVAILABLE"),
        (None, 2, "EXPORTER_WAREHOUSE_URL"),
    ] {
        for arguments in [&["classification", "check"][..], &["classification", "explain", "way"]] {
            let mut command = platform.program(arguments);
            match setting {
                Some(url) => command.env("EXPORTER_WAREHOUSE_URL", url),
                None => command.env_remove("EXPORTER_WAREHOUSE_URL"),
            };
            let done = command.output().await.unwrap();
            let said = String::from_utf8(done.stderr).unwrap();
            assert_eq!(done.status.code(), Some(expected), "{said}");
            assert!(said.contains(words) && !said.contains("canary"), "{said}");
        }
    }
}
