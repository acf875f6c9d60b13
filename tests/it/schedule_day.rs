//! A day of the schedule from its start to its summary: the tree in the bucket, what readers of folders see, statuses; and
//! the day again, restated.

use std::path::Path;
use std::time::Duration;

use data_exporter::jobs::Queue;
use data_exporter::jobs::days::{DayRun, Days};
use data_exporter::schedule::{Calendar, CatchUp, Scheduler};
use data_exporter::storage::ObjectStore;
use serde_json::{Value, json};

use crate::support::offered::{offer, run};
use crate::support::platform::Platform;
use crate::support::queue::{plan_of, settings, submit};
use crate::support::{days, metadata, s3};

const DATE: &str = "2026-03-02";
const FOLDER: &str = "dev/2026/03/02";

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
    let _worker = days::worker(&platform).await;
    let day = days::day("Europe/Warsaw", DATE);

    let (summary, succeeded) = days::told(&platform, &day, None).await;
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
    assert_eq!(days::tree(&platform, &days::day("UTC", DATE)).await, expected);
    let found = days::seen(&platform, &day, &["event", "kind", "quiet"]).await;
    assert_eq!(found["tables"], json!({"event": [2, 3], "kind": [7, 8], "quiet": []}));
    assert_eq!(
        (&found["rules"]["export_tables"], &found["rules"]["data_column_classification"]),
        (&json!(5), &json!(15))
    );
    let first = days::manifest(&platform, &day, "event").await;
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
    let (summary, succeeded) = days::told(&platform, &day, Some(&["odd".to_owned()])).await;
    assert!(succeeded, "{summary}");
    assert_eq!((&summary["revision"], summary["tables"].as_array().unwrap().len()), (&json!(2), 4));
    assert_eq!(days::manifest(&platform, &day, "odd").await["export"]["supersedes"], Value::Null);
    days::swapped(&platform, "odd").await;
    assert_eq!(days::seen(&platform, &day, &["odd", "event"]).await["tables"], json!({"odd": [5], "event": [2, 3]}));

    // The whole day restated: whoever follows the manifest sees the new files, whoever looks into the folder the old ones
    // for as long as a link lives.
    run(&platform.warehouse, "INSERT INTO event VALUES (9, '2026-03-02 13:00Z', 'late')").await;
    let (summary, succeeded) = days::told(&platform, &day, None).await;
    assert!(succeeded, "{summary}");
    let event = &summary["tables"][0];
    assert_eq!((&event["rows"], &event["revision"]), (&json!(3), &json!(3)));
    assert_eq!((&event["supersedes"]["revision"], &event["supersedes"]["rows"]), (&json!(1), &json!(2)));
    let second = days::manifest(&platform, &day, "event").await;
    assert_eq!(second["export"]["supersedes"]["job_id"], first["export"]["job_id"]);
    assert_eq!(second["export"]["supersedes"]["meta"], first["meta"]);
    assert_eq!(second["entries"][0]["url"], json!(format!("s3://{}/{FOLDER}/event/_r3/event_000.parquet", s3::BUCKET)));
    assert_eq!(days::seen(&platform, &day, &["event"]).await["tables"]["event"], json!([2, 3]));
    run(&platform.metadata, "UPDATE export_day_swaps SET due_at = clock_timestamp() WHERE table_name = 'event'").await;
    days::swapped(&platform, "event").await;
    assert_eq!(days::seen(&platform, &day, &["event"]).await["tables"]["event"], json!([2, 3, 9]));
    assert_eq!(days::manifest(&platform, &day, "event").await, second, "the manifest stays");

    // Files of other names: those that could be seen before are gone, so that nobody reads both.
    run(&platform.metadata, "UPDATE export_tables SET format = 'jsonl' WHERE table_name = 'event'").await;
    assert!(days::told(&platform, &day, Some(&["event".to_owned()])).await.1);
    run(&platform.metadata, "UPDATE export_day_swaps SET due_at = clock_timestamp() WHERE table_name = 'event'").await;
    days::swapped(&platform, "event").await;
    let tree = days::tree(&platform, &day).await;
    let shown: Vec<&str> = tree.iter().filter_map(|key| key.strip_prefix("event/")).collect();
    assert_eq!(shown, ["_manifest", "_r3/event_000.parquet", "_r4/event_000.jsonl", "event_000.jsonl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_manifest_is_not_replaced() {
    let platform = Platform::empty("schedule_foreign").await;
    run(&platform.warehouse, "CREATE TABLE event (id bigint, at timestamptz, note text)").await;
    offer(&platform, "event", "timestamp", "UTC").await;
    let _worker = days::worker(&platform).await;
    let day = days::day("UTC", DATE);
    assert!(days::told(&platform, &day, None).await.1);
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let at = s3::key(&format!("{FOLDER}/event/_manifest"));
    let there = store.head(&at).await.unwrap().unwrap();
    store.replace(&at, &there.etag, bytes::Bytes::from_static(b"{}"), "application/json").await.unwrap();
    let (summary, succeeded) = days::told(&platform, &day, None).await;
    assert!(!succeeded);
    assert_eq!(summary["tables"][0]["error"]["code"], "MANIFEST_CONFLICT");
    assert_eq!(days::read(&platform, &format!("{FOLDER}/event/_manifest")).await.unwrap(), b"{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_cannot_be_planned_fails_as_a_whole_and_is_told() {
    let platform = Platform::empty("schedule_unplanned").await;
    let _worker = days::worker(&platform).await;
    let (summary, succeeded) = days::told(&platform, &days::day("UTC", DATE), None).await;
    assert!(!succeeded);
    assert_eq!((&summary["error"]["code"], &summary["tables"]), (&json!("NO_TABLES"), &json!([])));
    assert_eq!(days::tree(&platform, &days::day("UTC", DATE)).await, ["_FAILED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_goes_before_the_schedule() {
    let platform = Platform::empty("schedule_priority").await;
    let calendar = Days::new(platform.metadata.clone());
    let night = days::day("UTC", DATE);
    let scheduler = Scheduler::new(
        "daily",
        Calendar::new("0 0 2 * * *", "UTC").unwrap(),
        CatchUp::All,
        Duration::ZERO,
        calendar.clone(),
    );
    assert_eq!(scheduler.day(night.date).unwrap(), night);
    let run_night = DayRun { schedule: "daily", day: &night, tables: None, requested_by: "test", lag: Duration::ZERO };
    let (job, _) = calendar.run(&run_night).await.unwrap();
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
