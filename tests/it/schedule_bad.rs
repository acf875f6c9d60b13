//! What goes wrong around a day: rules and tables that change while it runs, schedules that change, days without data.

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_exporter::error::ErrorCode;
use data_exporter::jobs::coverage::Coverage;
use data_exporter::jobs::days::{DayRun, Days, Now, Outcome};
use data_exporter::pipeline::PipelineSettings;
use data_exporter::schedule::{Calendar, CatchUp, Scheduler};
use data_exporter::warehouse::postgres::PostgresOptions;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::support::days::{self, day};
use crate::support::inprocess::{Running, Troubled};
use crate::support::offered::run;
use crate::support::platform::Platform;
use crate::support::s3;

const DATE: &str = "2026-03-02";

/// Holds the first scan of a worker back until it is dropped.
struct Gate {
    _held: PgConnection,
    _worker: Running,
}

/// A worker that plans and waits before its first scan.
async fn held_back(platform: &Platform) -> Gate {
    let mut held = PgConnection::connect(&platform.warehouse_url).await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_lock(42)").execute(&mut held).await.unwrap();
    let mut warehouse = Troubled::new(platform, PostgresOptions::default());
    warehouse.before_scan = Some("SELECT pg_advisory_lock(42); SELECT pg_advisory_unlock(42)".to_owned());
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    let pace = Duration::from_millis(10);
    // One at a time: the first scan holds the others back.
    let settings = PipelineSettings { retry_pause: pace, concurrent_partitions: 1, ..PipelineSettings::default() };
    Gate { _held: held, _worker: Running::with_settings(platform, Arc::new(warehouse), store, settings) }
}

/// Starts the day and waits until it is planned.
async fn planned(platform: &Platform, day: &data_exporter::jobs::days::Day) {
    let run = DayRun { schedule: "daily", day, tables: None, requested_by: "test", lag: Duration::ZERO };
    let (job, _) = Days::new(platform.metadata.clone()).run(&run).await.unwrap();
    let running = "SELECT count(*) FROM export_job_partitions WHERE job_id = $1 AND state = 'RUNNING'";
    let deadline = Instant::now() + Duration::from_secs(60);
    while sqlx::query_scalar::<_, i64>(running).bind(job.0).fetch_one(&platform.metadata).await.unwrap() == 0 {
        assert!(Instant::now() < deadline, "it does not run");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lets the scans go on and returns what became of the day.
async fn go_on(platform: &Platform, gate: Gate, day: &data_exporter::jobs::days::Day) -> (Value, bool, Gate) {
    let Gate { _held: mut held, _worker } = gate;
    sqlx::raw_sql("SELECT pg_advisory_unlock(42)").execute(&mut held).await.unwrap();
    let (summary, succeeded) = days::summary(platform, day).await;
    (summary, succeeded, Gate { _held: held, _worker })
}

fn told(summary: &Value) -> Vec<(&str, &str, &Value)> {
    let tables = summary["tables"].as_array().unwrap().iter();
    tables
        .map(|table| (table["name"].as_str().unwrap(), table["status"].as_str().unwrap(), &table["error"]["code"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_change_while_a_day_runs_are_for_the_next_one() {
    let platform = days::platform_of("schedule_bad_rules", &["a", "b", "late"]).await;
    run(&platform.metadata, "UPDATE export_tables SET enabled = false WHERE table_name = 'late'").await;
    let (day, gate) = (day("UTC", DATE), held_back(&platform).await);
    planned(&platform, &day).await;
    run(
        &platform.metadata,
        "UPDATE export_tables SET enabled = table_name = 'late' WHERE table_name IN ('b', 'late');
         INSERT INTO export_tables (table_name, scheduled) VALUES ('another', false)",
    )
    .await;
    let (summary, succeeded, _gate) = go_on(&platform, gate, &day).await;
    assert!(succeeded, "{summary}");
    let expected = [("a", "COMPLETED", &Value::Null), ("b", "COMPLETED", &Value::Null)];
    assert_eq!(told(&summary), expected, "as it was planned");
    assert_eq!(summary["missing"], json!([]));
    let coverage = Coverage::new(platform.metadata.clone(), "UTC").days(day.date, day.date).await.unwrap();
    assert_eq!(coverage[0].lacking, ["late"]);
    assert_eq!(days::seen(&platform, &day, &["a"]).await["rules"]["export_tables"], 3, "the rules beside it, too");
    let (summary, _) = days::told(&platform, &day, None).await;
    let latest: Vec<(&str, &Value)> = summary["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (table["name"].as_str().unwrap(), &table["revision"]))
        .collect();
    assert_eq!(latest, [("a", &json!(2)), ("b", &json!(1)), ("late", &json!(2))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_while_its_day_runs_fails_alone() {
    let platform = days::platform_of("schedule_bad_drop", &["a", "b", "c"]).await;
    let (day, gate) = (day("UTC", DATE), held_back(&platform).await);
    planned(&platform, &day).await;
    run(&platform.warehouse, "DROP TABLE b; ALTER TABLE c DROP COLUMN note").await;
    let (summary, succeeded, _gate) = go_on(&platform, gate, &day).await;
    assert!(!succeeded, "{summary}");
    let (gone, changed) = (json!("TABLE_NOT_FOUND"), json!("SCHEMA_CHANGED"));
    assert_eq!(told(&summary), [("a", "COMPLETED", &Value::Null), ("b", "FAILED", &gone), ("c", "FAILED", &changed)]);
    // Nobody misses it any more: with its rule gone the rest is a day.
    run(&platform.metadata, "DELETE FROM export_tables WHERE table_name = 'b'").await;
    let output = platform.program(&["--json", "run", "--date", DATE]).output().await.unwrap();
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), done["days"][0]["tables"]["c"]["status"].as_str()), (Some(0), Some("COMPLETED")));
    assert!(done["days"][0]["tables"].get("a").is_none(), "what is out stays: {done}");
    let (summary, succeeded) = days::summary(&platform, &day).await;
    assert!(succeeded, "{summary}");
    assert_eq!(told(&summary), [("a", "COMPLETED", &Value::Null), ("c", "COMPLETED", &Value::Null)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_named_and_taken_away_before_the_plan_fails() {
    let platform = days::platform_of("schedule_bad_named", &["a", "b"]).await;
    let day = day("UTC", DATE);
    let tables = ["a".to_owned(), "b".to_owned()];
    let asked =
        DayRun { schedule: "daily", day: &day, tables: Some(&tables), requested_by: "test", lag: Duration::ZERO };
    Days::new(platform.metadata.clone()).run(&asked).await.unwrap();
    run(&platform.metadata, "UPDATE export_tables SET scheduled = false WHERE table_name = 'b'").await;
    let _worker = days::worker(&platform).await;
    let (summary, succeeded) = days::summary(&platform, &day).await;
    assert!(!succeeded);
    let refused = json!("TABLE_NOT_OFFERED");
    assert_eq!(told(&summary), [("a", "COMPLETED", &Value::Null), ("b", "FAILED", &refused)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_changes_while_a_day_runs_starts_it_no_second_time() {
    let platform = days::platform_of("schedule_bad_change", &["a"]).await;
    let scheduler = |expression: &str, zone: &str| {
        let calendar = Calendar::new(expression, zone).unwrap();
        Scheduler::new("daily", calendar, CatchUp::All, Duration::ZERO, Days::new(platform.metadata.clone()))
    };
    let at = |text: &str| Now::At(text.parse().unwrap());
    let warsaw = scheduler("0 0 2 * * *", "Europe/Warsaw");
    warsaw.decide(at("2026-03-02T22:00:00Z")).await.unwrap();
    let decided = warsaw.decide(at("2026-03-03T01:00:00Z")).await.unwrap();
    let Outcome::Started(job) = decided[0].outcome else { panic!("{decided:?}") };
    // Another zone and another time, in the same night: the date is that of the job that runs, its window too.
    let utc = scheduler("0 30 2 * * *", "UTC");
    let decided = utc.decide(at("2026-03-03T02:30:00Z")).await.unwrap();
    assert_eq!(decided.iter().map(|one| one.outcome).collect::<Vec<_>>(), [Outcome::Known(job)]);
    let days = Days::new(platform.metadata.clone());
    let again = day("UTC", DATE);
    let asked = DayRun { schedule: "daily", day: &again, tables: None, requested_by: "test", lag: Duration::ZERO };
    assert_eq!(days.run(&asked).await.unwrap_err().code, ErrorCode::DayInProgress);
    let _worker = days::worker(&platform).await;
    let (summary, succeeded) = days::summary(&platform, &again).await;
    assert!(succeeded);
    assert_eq!(summary["window"], json!(["2026-03-01T23:00:00Z", "2026-03-02T23:00:00Z"]));
    assert_eq!((&summary["time_zone"], &summary["revision"]), (&json!("Europe/Warsaw"), &json!(1)));
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM export_jobs").fetch_one(&platform.metadata).await.unwrap();
    assert_eq!(jobs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn days_before_the_data_begins_are_exported_without_rows() {
    let platform = days::platform_of("schedule_bad_early", &["a"]).await;
    for date in ["2020-01-01", "1969-12-31", "0001-01-01"] {
        let output = platform.program(&["--json", "run", "--date", date]).output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{date}: {told} {}", String::from_utf8_lossy(&output.stderr));
        let day = day("UTC", date);
        assert_eq!(days::seen(&platform, &day, &["a"]).await["tables"]["a"], json!([]));
        let manifest = days::manifest(&platform, &day, "a").await;
        assert_eq!((&manifest["meta"]["record_count"], manifest["entries"].as_array().unwrap().len()), (&json!(0), 1));
        assert_eq!(manifest["schema"]["elements"].as_array().unwrap().len(), 3, "{date}: its columns are there");
    }
    let output = platform.program(&["--json", "run", "--date", "2026-13-01"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
}
