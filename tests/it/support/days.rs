//! Days of the schedule in tests: a worker that exports them, waiting until one is closed, and what is in its folder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_exporter::jobs::days::{Day, DayRun, Days};
use data_exporter::pipeline::PipelineSettings;
use data_exporter::schedule::Calendar;
use data_exporter::storage::{ObjectStore, StorageError};
use data_exporter::warehouse::postgres::PostgresOptions;
use serde_json::Value;

use super::inprocess::{Running, Troubled};
use super::offered::{offer, run};
use super::platform::Platform;
use super::{python, s3};

/// A worker that does not wait long before it tries again.
pub(crate) async fn worker(platform: &Platform) -> Running {
    let warehouse = Arc::new(Troubled::new(platform, PostgresOptions::default()));
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    let settings = PipelineSettings { retry_pause: Duration::from_millis(10), ..PipelineSettings::default() };
    Running::with_settings(platform, warehouse, store, settings)
}

/// This date in this zone.
pub(crate) fn day(zone: &str, date: &str) -> Day {
    let date = date.parse().unwrap();
    let window = Calendar::new("0 0 2 * * *", zone).unwrap().window(date).unwrap();
    Day { date, window, time_zone: zone.to_owned() }
}

/// Exports a day and waits until it is closed. Returns whether it succeeded.
pub(crate) async fn export(platform: &Platform, day: &Day, tables: Option<&[String]>) -> bool {
    let run = DayRun { schedule: "daily", day, tables, requested_by: "test", lag: Duration::ZERO };
    Days::new(platform.metadata.clone()).run(&run).await.unwrap();
    closed(platform, day).await
}

/// Waits until the last revision of a day is closed. Returns whether it succeeded.
pub(crate) async fn closed(platform: &Platform, day: &Day) -> bool {
    let last = "SELECT succeeded FROM export_days WHERE export_date = $1 ORDER BY revision DESC LIMIT 1";
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let found: Option<bool> = sqlx::query_scalar(last).bind(day.date).fetch_one(&platform.metadata).await.unwrap();
        if let Some(succeeded) = found {
            return succeeded;
        }
        assert!(Instant::now() < deadline, "the day is not closed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The folder of a day.
pub(crate) fn folder(day: &Day) -> String {
    format!("dev/{}", day.date.format("%Y/%m/%d"))
}

/// An object, if there is one.
pub(crate) async fn read(platform: &Platform, key: &str) -> Option<Vec<u8>> {
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    match store.get(&s3::key(key)).await {
        Ok(bytes) => Some(bytes.to_vec()),
        Err(StorageError::NotFound { .. }) => None,
        Err(error) => panic!("{key}: {error}"),
    }
}

/// What the day's folder says of it, and whether that is success: one of the two summaries is there, and it is what the
/// database has.
pub(crate) async fn summary(platform: &Platform, day: &Day) -> (Value, bool) {
    let succeeded = closed(platform, day).await;
    let (here, gone) = if succeeded { ("_SUCCESS", "_FAILED") } else { ("_FAILED", "_SUCCESS") };
    let folder = folder(day);
    assert!(read(platform, &format!("{folder}/{gone}")).await.is_none(), "only one of them");
    (serde_json::from_slice(&read(platform, &format!("{folder}/{here}")).await.unwrap()).unwrap(), succeeded)
}

/// Exports a day and waits until it is closed. Returns its summary and whether it says success.
pub(crate) async fn told(platform: &Platform, day: &Day, tables: Option<&[String]>) -> (Value, bool) {
    export(platform, day, tables).await;
    summary(platform, day).await
}

/// The manifest of a table of a day.
pub(crate) async fn manifest(platform: &Platform, day: &Day, table: &str) -> Value {
    let key = format!("{}/{table}/_manifest", folder(day));
    serde_json::from_slice(&read(platform, &key).await.unwrap()).unwrap()
}

/// Every key of a day, from its folder on.
pub(crate) async fn tree(platform: &Platform, day: &Day) -> Vec<String> {
    let (client, folder) = (s3::bare_client(&platform.s3.endpoint()), folder(day));
    let listed = client.list_objects_v2().bucket(s3::BUCKET).prefix(format!("{folder}/")).send().await.unwrap();
    let mut keys: Vec<String> =
        listed.contents().iter().map(|object| object.key().unwrap()[folder.len() + 1..].to_owned()).collect();
    keys.sort();
    keys
}

/// What readers of folders see of a day.
pub(crate) async fn seen(platform: &Platform, day: &Day, tables: &[&str]) -> Value {
    let copy = tempfile::tempdir().unwrap();
    for key in tree(platform, day).await {
        let path = copy.path().join(&key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, read(platform, &format!("{}/{key}", folder(day))).await.unwrap()).unwrap();
    }
    let arguments = [copy.path().to_str().unwrap()].into_iter().chain(tables.iter().copied());
    serde_json::from_str(&python::run("day_folder.py", arguments)).unwrap()
}

/// Waits until the latest files of a table can be seen in its folder.
pub(crate) async fn swapped(platform: &Platform, table: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let open = "SELECT count(*) FROM export_day_swaps WHERE table_name = $1 AND done_at IS NULL";
    while sqlx::query_scalar::<_, i64>(open).bind(table).fetch_one(&platform.metadata).await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "the files of {table} cannot be seen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A platform with tables of these names, each with one row of 2 March 2026.
pub(crate) async fn platform_of(name: &str, tables: &[&str]) -> Platform {
    let platform = Platform::empty(name).await;
    for table in tables {
        add(&platform, table).await;
    }
    platform
}

/// Adds such a table, and offers it.
pub(crate) async fn add(platform: &Platform, table: &str) {
    run(
        &platform.warehouse,
        format!(
            "CREATE TABLE {table} (id bigint, at timestamptz, note text);
             INSERT INTO {table} VALUES (1, '2026-03-02 10:00Z', 'a')"
        ),
    )
    .await;
    offer(platform, table, "timestamp", "UTC").await;
}
