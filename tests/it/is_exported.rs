//! Whether a table of a day is safely out, as whoever archives the warehouse is told: by the database, the bucket and the
//! warehouse together, and never yes where one of them does not answer.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use data_exporter::error::ErrorCode;
use data_exporter::identity::Role;
use data_exporter::jobs::coverage::Coverage;
use data_exporter::jobs::days::{DayRun, Days};
use data_exporter::storage::ObjectStore;
use data_exporter::upkeep::exported::{Exported, NotOut, TableOut};
use data_exporter::warehouse::Warehouse;
use data_exporter::warehouse::postgres::{PostgresOptions, PostgresWarehouse};
use serde_json::json;

use crate::support::days::{self, day};
use crate::support::offered::{offer, run};
use crate::support::platform::Platform;
use crate::support::s3;

const DATE: &str = "2026-03-02";
const FOLDER: &str = "dev/2026/03/02";

fn warehouse(url: &str, patience: Duration) -> Option<Arc<dyn Warehouse>> {
    let options = PostgresOptions {
        max_connections: 2,
        statement_timeout: patience,
        connect_timeout: Duration::from_secs(5),
        ..PostgresOptions::default()
    };
    Some(Arc::new(PostgresWarehouse::new(url.into(), options).unwrap()))
}

async fn desk(platform: &Platform, warehouse: Option<Arc<dyn Warehouse>>) -> Exported {
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    Exported::new(Coverage::new(platform.metadata.clone(), "Europe/Warsaw"), store, warehouse)
}

async fn ask(desk: &Exported, table: &str) -> Result<TableOut, ErrorCode> {
    let date: NaiveDate = DATE.parse().unwrap();
    let mut days = desk.days(&table.parse().unwrap(), date, date).await.map_err(|failure| failure.code)?;
    assert_eq!(days.len(), 1);
    Ok(days.remove(0))
}

/// Reason, whether it is exported, whether it is complete, rows exported and rows now.
type Told = (Option<NotOut>, bool, bool, Option<i64>, Option<i64>);

async fn told(desk: &Exported, table: &str) -> Told {
    let out = ask(desk, table).await.unwrap();
    let published = out.published.as_ref();
    assert_eq!(published.is_some_and(|published| published.verified), out.is_exported());
    assert!(!out.is_complete() || out.is_exported());
    (
        out.reason,
        out.is_exported(),
        out.is_complete(),
        published.map(|published| published.rows),
        published.and_then(|published| published.rows_now),
    )
}

async fn put(platform: &Platform, key: &str, bytes: Vec<u8>) {
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let key = s3::key(key);
    match store.head(&key).await.unwrap() {
        Some(there) => store.replace(&key, &there.etag, bytes.into(), "application/json").await.unwrap(),
        None => store.put_if_absent(&key, bytes.into(), "application/json").await.unwrap(),
    };
}

async fn get(platform: &Platform, key: &str) -> Vec<u8> {
    platform.s3.store(s3::BUCKET).await.unwrap().get(&s3::key(key)).await.unwrap().to_vec()
}

/// An event of two rows on the day in Warsaw, with a provider that is not exported, and a table without time.
async fn exported(name: &str) -> Platform {
    let platform = Platform::empty(name).await;
    run(
        &platform.warehouse,
        "CREATE TABLE event (id bigint, at timestamptz, note text);
         CREATE TABLE kind (id bigint, at text, note text);
         INSERT INTO event VALUES (1, '2026-03-01 22:59:59Z', 'ours'), (2, '2026-03-01 23:00Z', 'ours'),
             (3, '2026-03-02 22:59:59Z', 'ours'), (4, '2026-03-02 12:00Z', 'theirs'), (5, '2026-03-02 23:00Z', 'ours');
         INSERT INTO kind VALUES (7, NULL, 'a kind')",
    )
    .await;
    for table in ["event", "kind"] {
        offer(&platform, table, "timestamp", "UTC").await;
    }
    run(
        &platform.metadata,
        "UPDATE export_tables SET time_column = NULL WHERE table_name = 'kind';
         UPDATE export_tables SET source_column = 'note' WHERE table_name = 'event';
         UPDATE data_column_classification SET classification = 'mx', pii_exempt_by = NULL, pii_exempt_reason = NULL,
             pii_exempt_until = NULL WHERE table_name = 'event' AND column_name = 'id';
         INSERT INTO actual_data_classifications VALUES ('ours', 'nr'), ('theirs', 'de')",
    )
    .await;
    platform
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_out_when_all_three_say_so() {
    let platform = exported("is_exported").await;
    let desk = desk(&platform, warehouse(&platform.warehouse_url, Duration::from_secs(30))).await;
    let today = day("Europe/Warsaw", DATE);
    assert_eq!(told(&desk, "event").await, (Some(NotOut::NeverExported), false, false, None, None));
    // Queued, and nobody works.
    let calendar = Days::new(platform.metadata.clone());
    let asked = DayRun { schedule: "daily", day: &today, tables: None, requested_by: "test", lag: Duration::ZERO };
    calendar.run(&asked).await.unwrap();
    assert_eq!(told(&desk, "event").await, (Some(NotOut::InProgress), false, false, None, None));
    let worker = days::worker(&platform).await;
    assert!(days::closed(&platform, &today).await);
    // The rows of the day in Warsaw that the policy lets through.
    assert_eq!(told(&desk, "event").await, (None, true, true, Some(2), Some(2)));
    assert_eq!(told(&desk, "kind").await, (None, true, true, Some(1), Some(1)));
    assert_eq!(told(&desk, "unheard_of").await.0, Some(NotOut::NeverExported));

    // Rows that come late; what the policy holds back and what is of another day is none.
    run(
        &platform.warehouse,
        "INSERT INTO event VALUES (10, '2026-03-02 13:00Z', 'ours'), (11, '2026-03-02 13:00Z', 'theirs'),
             (12, '2026-03-03 13:00Z', 'ours');
         INSERT INTO kind VALUES (8, NULL, NULL)",
    )
    .await;
    assert_eq!(told(&desk, "event").await, (Some(NotOut::LateRows), true, false, Some(2), Some(3)));
    let late = ask(&desk, "event").await.unwrap();
    assert_eq!((late.late_rows(), late.published.unwrap().rows_held_back), (Some(1), Some(2)));
    assert_eq!(told(&desk, "kind").await, (Some(NotOut::LateRows), true, false, Some(1), Some(2)));
    // The rules may change: what was exported is counted as it was exported.
    run(&platform.metadata, "UPDATE actual_data_classifications SET classification = 'nr'").await;
    assert_eq!(told(&desk, "event").await.4, Some(3));
    run(&platform.metadata, "UPDATE actual_data_classifications SET classification = 'de' WHERE source = 'theirs'")
        .await;
    // Restated: complete again; while that is under way nobody may count on the day.
    let (job, revision) = calendar.run(&asked).await.unwrap();
    assert_eq!(revision, 2);
    let under_way = ask(&desk, "event").await.unwrap();
    assert!(!under_way.is_complete() || under_way.revision == Some(2), "{under_way:?} while {job} is under way");
    assert!(days::closed(&platform, &today).await);
    let again = ask(&desk, "event").await.unwrap();
    assert_eq!((again.is_complete(), again.revision, again.late_rows()), (true, Some(2), Some(0)));
    run(&platform.warehouse, "DELETE FROM event WHERE id = 10").await;
    assert_eq!(told(&desk, "event").await, (Some(NotOut::RowsGone), true, false, Some(3), Some(2)));
    // A table that fails when it is restated was to be replaced: what is there is not the last word.
    run(&platform.metadata, "UPDATE export_tables SET time_column = 'gone' WHERE table_name = 'event'").await;
    assert!(!days::export(&platform, &today, None).await);
    assert_eq!(told(&desk, "event").await, (Some(NotOut::Failed), false, false, None, None));
    drop(worker);

    // From the shell.
    let output = platform
        .program(&["is-exported", "event", "--date", DATE])
        .env("EXPORTER_TIMEZONE", "Europe/Warsaw")
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("2026-03-02 event  not complete, revision 3") && text.contains("[FAILED]"), "{text}");
    let arguments = ["--json", "is-exported", "kind", "--date", DATE];
    let output = platform.program(&arguments).env("EXPORTER_TIMEZONE", "Europe/Warsaw").output().await.unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{found}");
    assert_eq!((&found[0]["complete"], &found[0]["rowsNow"]), (&json!(true), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_bucket_as_it_was_published_is_not_verified() {
    let platform = exported("is_exported_bucket").await;
    let desk = desk(&platform, warehouse(&platform.warehouse_url, Duration::from_secs(30))).await;
    let _worker = days::worker(&platform).await;
    assert!(days::export(&platform, &day("Europe/Warsaw", DATE), None).await);
    let (manifest, file) = (format!("{FOLDER}/event/_manifest"), format!("{FOLDER}/event/event_000.parquet"));
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let (ours, bytes) = (get(&platform, &manifest).await, get(&platform, &file).await);
    let not = |reason| (Some(reason), false, false, Some(2), None);

    store.delete(&s3::key(&manifest)).await.unwrap();
    assert_eq!(told(&desk, "event").await, not(NotOut::ManifestMissing));
    // Another job's, another table's, one of other files, and what is no manifest at all.
    let text = String::from_utf8(ours.clone()).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&ours).unwrap();
    let job = value["export"]["job_id"].as_str().unwrap();
    let mut shorter = value.clone();
    shorter["entries"] = json!([]);
    let mut longer = value.clone();
    longer["entries"][0]["meta"]["content_length"] = json!(bytes.len() + 1);
    for other in [
        text.replace(job, "01890000-0000-7000-8000-000000000000"),
        text.replace("\"table\":\"event\"", "\"table\":\"kind\""),
        shorter.to_string(),
        longer.to_string(),
        "{}".to_owned(),
        String::new(),
    ] {
        assert_ne!(other, text);
        put(&platform, &manifest, other.clone().into_bytes()).await;
        assert_eq!(told(&desk, "event").await, not(NotOut::ManifestReplaced), "{other}");
    }
    put(&platform, &manifest, ours).await;
    assert_eq!(told(&desk, "event").await, (None, true, true, Some(2), Some(2)));
    put(&platform, &file, bytes[1..].to_vec()).await;
    assert_eq!(told(&desk, "event").await, not(NotOut::FileChanged));
    store.delete(&s3::key(&file)).await.unwrap();
    assert_eq!(told(&desk, "event").await, not(NotOut::FileMissing));
    assert_eq!(told(&desk, "kind").await, (None, true, true, Some(1), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_is_never_taken_for_a_yes() {
    let platform = exported("is_exported_away").await;
    let _worker = days::worker(&platform).await;
    assert!(days::export(&platform, &day("Europe/Warsaw", DATE), None).await);
    let none = desk(&platform, None).await;
    assert_eq!(ask(&none, "event").await.unwrap_err(), ErrorCode::SettingsInvalid);
    let away = desk(&platform, warehouse("postgres://nobody:canary@127.0.0.1:1/none", Duration::from_secs(1))).await;
    assert_eq!(ask(&away, "event").await.unwrap_err(), ErrorCode::WarehouseUnavailable);
    // Slow: somebody holds the table.
    let mut holding = platform.warehouse.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE event IN ACCESS EXCLUSIVE MODE").execute(&mut *holding).await.unwrap();
    let slow = desk(&platform, warehouse(&platform.warehouse_url, Duration::from_millis(200))).await;
    assert_eq!(ask(&slow, "event").await.unwrap_err(), ErrorCode::WarehouseTimeout);
    holding.rollback().await.unwrap();
    // The column that the policy asks is gone.
    run(&platform.warehouse, "ALTER TABLE event RENAME note TO remark").await;
    let changed = desk(&platform, warehouse(&platform.warehouse_url, Duration::from_secs(30))).await;
    assert!(ask(&changed, "event").await.is_err());
    run(&platform.warehouse, "ALTER TABLE event RENAME remark TO note").await;
    assert!(ask(&changed, "event").await.unwrap().is_complete());
    // Another bucket than the files are in.
    run(
        &platform.metadata,
        "UPDATE table_export_job_statuses SET manifest_url = replace(manifest_url, 's3://', 's3://other-')",
    )
    .await;
    assert_eq!(ask(&changed, "event").await.unwrap_err(), ErrorCode::SettingsInvalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_of_the_default_tenant_ask_and_nobody_else() {
    let platform = exported("is_exported_api").await;
    let _worker = days::worker(&platform).await;
    assert!(days::export(&platform, &day("UTC", DATE), None).await);
    let service = platform.serve("api", "api", &[("EXPORTER_AUTH", "api-key")]).await;
    let admin = platform.key("default", Role::Admin).await;
    let query = format!(
        "{{ isExported(table: \"event\", date: \"{DATE}\") {{ exported complete reason manifestVerified lateRows rowsNow rowsHeldBack revision }}
            exportedTables(table: \"event\", from: \"2026-03-01\", to: \"{DATE}\") {{ date reason }}
            coverage(from: \"2026-03-01\", to: \"{DATE}\") {{ date state rows tables {{ table status rows unchangedSince }} }}
            all: tableExportJobStatuses(filter: {{from: \"2026-03-01\", to: \"{DATE}\", kind: SCHEDULED, latest: true}}) {{
                edges {{ node {{ table revision }} }} }}
            none: tableExportJobStatuses(filter: {{from: \"2026-03-03\"}}) {{ edges {{ node {{ table }} }} }} }}"
    );
    let (status, answer) = service.ask_as(&admin, &query).await;
    assert_eq!((status, answer.get("errors")), (200, None), "{answer}");
    let data = &answer["data"];
    assert_eq!(
        data["isExported"],
        json!({"exported": true, "complete": true, "reason": null, "manifestVerified": true, "lateRows": 0, "rowsNow": 2, "rowsHeldBack": 1,
               "revision": 1})
    );
    assert_eq!(
        data["exportedTables"],
        json!([{"date": "2026-03-01", "reason": "NEVER_EXPORTED"}, {"date": DATE, "reason": null}])
    );
    assert_eq!((&data["coverage"][0]["state"], &data["coverage"][1]["state"]), (&json!("MISSING"), &json!("EXPORTED")));
    assert_eq!(
        data["coverage"][1]["tables"][0],
        json!({"table": "event", "status": "COMPLETED", "rows": 2, "unchangedSince": null})
    );
    assert_eq!(data["all"]["edges"].as_array().unwrap().len(), 2);
    assert_eq!(data["none"]["edges"], json!([]));
    for (tenant, role) in [("default", Role::Requester), ("acme", Role::Requester), ("acme", Role::Admin)] {
        let key = platform.key(tenant, role).await;
        for field in [
            format!("isExported(table: \"event\", date: \"{DATE}\") {{ exported }}"),
            format!("exportedTables(table: \"event\", from: \"{DATE}\", to: \"{DATE}\") {{ exported }}"),
            format!("coverage(from: \"{DATE}\", to: \"{DATE}\") {{ state }}"),
        ] {
            let (_, answer) = service.ask_as(&key, &format!("{{ {field} }}")).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{tenant} {field}: {answer}");
            assert!(answer["data"].is_null(), "{answer}");
        }
    }
}
