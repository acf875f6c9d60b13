//! A day of the schedule from its start to its summary: the tree in the bucket, what readers of folders see, statuses; and
//! the day again, restated.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_exporter::jobs::Queue;
use data_exporter::jobs::days::{Day, DayRun, Days};
use data_exporter::pipeline::PipelineSettings;
use data_exporter::schedule::{Calendar, CatchUp, Scheduler};
use data_exporter::storage::ObjectStore;
use data_exporter::warehouse::postgres::PostgresOptions;
use serde_json::{Value, json};

use crate::support::inprocess::{Running, Troubled};
use crate::support::offered::{offer, run};
use crate::support::platform::Platform;
use crate::support::queue::{plan_of, settings, submit};
use crate::support::{metadata, python, s3};

const FOLDER: &str = "dev/2026/03/02";

async fn worker(platform: &Platform) -> Running {
    let warehouse = Arc::new(Troubled::new(platform, PostgresOptions::default()));
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    let settings = PipelineSettings { retry_pause: Duration::from_millis(10), ..PipelineSettings::default() };
    Running::with_settings(platform, warehouse, store, settings)
}

fn day(zone: &str) -> Day {
    let calendar = Calendar::new("0 0 2 * * *", zone).unwrap();
    Day {
        date: "2026-03-02".parse().unwrap(),
        window: calendar.window("2026-03-02".parse().unwrap()).unwrap(),
        time_zone: zone.to_owned(),
    }
}

/// Starts the day and waits until it is closed. Returns its summary and whether it says success.
async fn export(platform: &Platform, day: &Day, tables: Option<&[String]>) -> (Value, bool) {
    let days = Days::new(platform.metadata.clone());
    let run = DayRun { schedule: "daily", day, tables, requested_by: "test", lag: Duration::ZERO };
    let (job, _) = days.run(&run).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let succeeded = loop {
        let closed: Option<bool> = sqlx::query_scalar("SELECT succeeded FROM export_days WHERE job_id = $1")
            .bind(job.0)
            .fetch_one(&platform.metadata)
            .await
            .unwrap();
        if let Some(succeeded) = closed {
            break succeeded;
        }
        assert!(Instant::now() < deadline, "the day is not closed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let (here, gone) = if succeeded { ("_SUCCESS", "_FAILED") } else { ("_FAILED", "_SUCCESS") };
    assert!(read(platform, &format!("{FOLDER}/{gone}")).await.is_none(), "only one of them");
    (serde_json::from_slice(&read(platform, &format!("{FOLDER}/{here}")).await.unwrap()).unwrap(), succeeded)
}

async fn read(platform: &Platform, key: &str) -> Option<Vec<u8>> {
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    store.head(&s3::key(key)).await.unwrap()?;
    Some(store.get(&s3::key(key)).await.unwrap().to_vec())
}

async fn manifest(platform: &Platform, table: &str) -> Value {
    serde_json::from_slice(&read(platform, &format!("{FOLDER}/{table}/_manifest")).await.unwrap()).unwrap()
}

/// Every key of the day, from its folder on.
async fn tree(platform: &Platform) -> Vec<String> {
    let client = s3::bare_client(&platform.s3.endpoint());
    let listed = client.list_objects_v2().bucket(s3::BUCKET).prefix(format!("{FOLDER}/")).send().await.unwrap();
    let mut keys: Vec<String> =
        listed.contents().iter().map(|object| object.key().unwrap()[FOLDER.len() + 1..].to_owned()).collect();
    keys.sort();
    keys
}

/// What readers of folders see of the day.
async fn seen(platform: &Platform, tables: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    for key in tree(platform).await {
        let path = folder.path().join(&key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, read(platform, &format!("{FOLDER}/{key}")).await.unwrap()).unwrap();
    }
    let arguments = [folder.path().to_str().unwrap()].into_iter().chain(tables.iter().copied());
    serde_json::from_str(&python::run("day_folder.py", arguments)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_exported_told_and_restated() {
    let platform = Platform::empty("schedule_day").await;
    run(
        &platform.warehouse,
        "CREATE TABLE event (id bigint, at timestamptz, note text);
         CREATE TABLE quiet (id bigint, at timestamptz, note text);
         CREATE TABLE kind (id bigint, at text, note text);
         CREATE TABLE odd (id bigint, at timestamptz, note text);
         CREATE TABLE asked (id bigint, at timestamptz, note text);
         -- In Warsaw the day of 2 March lasts from 23:00 to 23:00 UTC.
         INSERT INTO event VALUES (1, '2026-03-01 22:59:59Z', 'before'), (2, '2026-03-01 23:00Z', 'first'),
             (3, '2026-03-02 22:59:59.999999Z', 'last'), (4, '2026-03-02 23:00Z', 'after');
         INSERT INTO kind VALUES (7, NULL, 'a kind'), (8, NULL, NULL)",
    )
    .await;
    for table in ["event", "quiet", "kind", "odd", "asked"] {
        offer(&platform, table, "timestamp", "UTC").await;
    }
    run(
        &platform.metadata,
        "UPDATE export_tables SET time_column = NULL WHERE table_name = 'kind';
         UPDATE export_tables SET scheduled = false WHERE table_name = 'asked';
         -- The column that tells the time is not there: this table fails, and no other.
         UPDATE export_tables SET time_column = 'gone' WHERE table_name = 'odd'",
    )
    .await;
    let _worker = worker(&platform).await;
    let day = day("Europe/Warsaw");

    let (summary, succeeded) = export(&platform, &day, None).await;
    assert!(!succeeded);
    assert_eq!(
        (&summary["status"], &summary["date"], &summary["revision"]),
        (&json!("FAILED"), &json!("2026-03-02"), &json!(1))
    );
    assert_eq!(summary["window"], json!(["2026-03-01T23:00:00Z", "2026-03-02T23:00:00Z"]));
    let told: Vec<(&str, &str, &Value)> = summary["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (table["name"].as_str().unwrap(), table["status"].as_str().unwrap(), &table["rows"]))
        .collect();
    assert_eq!(
        told,
        [
            ("event", "COMPLETED", &json!(2)),
            ("kind", "COMPLETED", &json!(2)),
            ("odd", "FAILED", &Value::Null),
            ("quiet", "COMPLETED", &json!(0)),
        ]
    );
    let rules = [
        "actual_data_classifications",
        "column_restrictions",
        "data_column_classification",
        "export_tables",
        "long_table_data_classifications",
    ];
    let mut expected: Vec<String> = rules.iter().map(|table| format!("classifications/{table}.parquet")).collect();
    expected.extend(
        ["event", "kind", "quiet"]
            .iter()
            .flat_map(|table| [format!("{table}/_manifest"), format!("{table}/{table}_000.parquet")]),
    );
    expected.push("_FAILED".to_owned());
    expected.sort();
    assert_eq!(tree(&platform).await, expected);
    let found = seen(&platform, &["event", "kind", "quiet"]).await;
    assert_eq!(found["tables"], json!({"event": [2, 3], "kind": [7, 8], "quiet": []}));
    assert_eq!(
        (&found["rules"]["export_tables"], &found["rules"]["data_column_classification"]),
        (&json!(5), &json!(15))
    );
    let first = manifest(&platform, "event").await;
    assert_eq!(
        (&first["export"]["date"], &first["export"]["revision"], &first["export"]["supersedes"]),
        (&json!("2026-03-02"), &json!(1), &Value::Null)
    );
    let statuses: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM table_export_job_statuses
         WHERE kind = 'scheduled' AND schedule = 'daily' AND export_date = '2026-03-02' AND revision = 1
           AND (window_start, window_end) = ('2026-03-01 23:00Z', '2026-03-02 23:00Z')",
    )
    .fetch_one(&platform.metadata)
    .await
    .unwrap();
    assert_eq!(statuses, 4);

    // What failed, again: it was never seen, so nobody has to be waited for.
    run(&platform.metadata, "UPDATE export_tables SET time_column = 'at' WHERE table_name = 'odd'").await;
    run(&platform.warehouse, "INSERT INTO odd VALUES (5, '2026-03-02 12:00Z', 'late')").await;
    let (summary, succeeded) = export(&platform, &day, Some(&["odd".to_owned()])).await;
    assert!(succeeded, "{summary}");
    assert_eq!((&summary["revision"], summary["tables"].as_array().unwrap().len()), (&json!(2), 4));
    assert_eq!(manifest(&platform, "odd").await["export"]["supersedes"], Value::Null);
    until_swapped(&platform, "odd").await;
    assert_eq!(seen(&platform, &["odd", "event"]).await["tables"], json!({"odd": [5], "event": [2, 3]}));

    // The whole day restated: whoever follows the manifest sees the new files, whoever looks into the folder the old ones
    // for as long as a link lives.
    run(&platform.warehouse, "INSERT INTO event VALUES (9, '2026-03-02 13:00Z', 'late')").await;
    let (summary, succeeded) = export(&platform, &day, None).await;
    assert!(succeeded, "{summary}");
    let event = &summary["tables"][0];
    assert_eq!((&event["rows"], &event["revision"]), (&json!(3), &json!(3)));
    assert_eq!((&event["supersedes"]["revision"], &event["supersedes"]["rows"]), (&json!(1), &json!(2)));
    let second = manifest(&platform, "event").await;
    assert_eq!(second["export"]["supersedes"]["job_id"], first["export"]["job_id"]);
    assert_eq!(second["export"]["supersedes"]["meta"], first["meta"]);
    assert_eq!(second["entries"][0]["url"], json!(format!("s3://{}/{FOLDER}/event/_r3/event_000.parquet", s3::BUCKET)));
    assert_eq!(seen(&platform, &["event"]).await["tables"]["event"], json!([2, 3]));
    run(&platform.metadata, "UPDATE export_day_swaps SET due_at = clock_timestamp() WHERE table_name = 'event'").await;
    until_swapped(&platform, "event").await;
    assert_eq!(seen(&platform, &["event"]).await["tables"]["event"], json!([2, 3, 9]));
    assert_eq!(manifest(&platform, "event").await, second, "the manifest stays");
}

async fn until_swapped(platform: &Platform, table: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let open = "SELECT count(*) FROM export_day_swaps WHERE table_name = $1 AND done_at IS NULL";
    while sqlx::query_scalar::<_, i64>(open).bind(table).fetch_one(&platform.metadata).await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "the files of {table} cannot be seen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_manifest_is_not_replaced() {
    let platform = Platform::empty("schedule_foreign").await;
    run(&platform.warehouse, "CREATE TABLE event (id bigint, at timestamptz, note text)").await;
    offer(&platform, "event", "timestamp", "UTC").await;
    let _worker = worker(&platform).await;
    let day = day("UTC");
    assert!(export(&platform, &day, None).await.1);
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let at = s3::key(&format!("{FOLDER}/event/_manifest"));
    let there = store.head(&at).await.unwrap().unwrap();
    store.replace(&at, &there.etag, bytes::Bytes::from_static(b"{}"), "application/json").await.unwrap();
    let (summary, succeeded) = export(&platform, &day, None).await;
    assert!(!succeeded);
    assert_eq!(summary["tables"][0]["error"]["code"], "MANIFEST_CONFLICT");
    assert_eq!(read(&platform, &format!("{FOLDER}/event/_manifest")).await.unwrap(), b"{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_cannot_be_planned_fails_as_a_whole_and_is_told() {
    let platform = Platform::empty("schedule_unplanned").await;
    let _worker = worker(&platform).await;
    let (summary, succeeded) = export(&platform, &day("UTC"), None).await;
    assert!(!succeeded);
    assert_eq!((&summary["error"]["code"], &summary["tables"]), (&json!("NO_TABLES"), &json!([])));
    assert_eq!(tree(&platform).await, ["_FAILED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_goes_before_the_schedule() {
    let platform = Platform::empty("schedule_priority").await;
    let days = Days::new(platform.metadata.clone());
    let night = day("UTC");
    let scheduler = Scheduler::new(
        "daily",
        Calendar::new("0 0 2 * * *", "UTC").unwrap(),
        CatchUp::All,
        Duration::ZERO,
        days.clone(),
    );
    assert_eq!(scheduler.day(night.date).unwrap(), night);
    let run_night = DayRun { schedule: "daily", day: &night, tables: None, requested_by: "test", lag: Duration::ZERO };
    let (job, _) = days.run(&run_night).await.unwrap();
    let queue = Queue::new(platform.metadata.clone(), settings());
    metadata::offer_tables(&platform.metadata).await;
    submit(&platform.metadata, "default").await;
    let first = queue.claim_plan().await.unwrap().unwrap();
    assert_ne!(first.job, job, "queued later, and planned first");
    assert_eq!(first.day, None);
    let second = queue.claim_plan().await.unwrap().unwrap();
    assert_eq!((second.job, second.day.map(|day| (day.date, day.revision))), (job, Some((night.date, 1))));
    for task in [&second, &first] {
        plan_of(&queue, task, &[("way", 2)]).await;
    }
    let mut order = Vec::new();
    while let Some(task) = queue.claim_partition().await.unwrap() {
        order.push(task.job == job);
    }
    assert_eq!(order, [false, false, true, true]);
}

#[test]
fn the_tree_is_the_contracts() {
    let layout = data_exporter::pipeline::Layout::new("prod");
    let date = "2026-11-09".parse().unwrap();
    for (table, folder) in [
        ("way", "prod/2026/11/09/way"),
        ("ops.way", "prod/2026/11/09/ops.way"),
        ("_x", "prod/2026/11/09/t=_x"),
        ("classifications", "prod/2026/11/09/t=classifications"),
    ] {
        let found = layout.scheduled(date, &table.parse().unwrap());
        assert_eq!(found, folder);
        assert_eq!(layout.revision(&found, 1), folder);
        assert_eq!(Path::new(&layout.revision(&found, 2)), Path::new(folder).join("_r2"));
        assert_eq!(layout.scheduled_manifest(&found), format!("{folder}/_manifest"));
    }
}
