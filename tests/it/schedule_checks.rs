//! What a day's folder says of it stays right, also when a process that was frozen writes an old end over a later one.

use std::time::{Duration, Instant};

use data_exporter::jobs::Queue;
use data_exporter::jobs::days::Day;
use data_exporter::storage::ObjectStore;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::support::days::{self, day};
use crate::support::offered::{offer, run};
use crate::support::platform::Platform;
use crate::support::queue::settings;
use crate::support::s3;

const DATE: &str = "2026-03-02";

async fn platform(name: &str) -> Platform {
    let platform = Platform::empty(name).await;
    run(&platform.warehouse, "CREATE TABLE event (id bigint, at timestamptz, note text)").await;
    offer(&platform, "event", "timestamp", "UTC").await;
    platform
}

/// Makes an object what it is not to be.
async fn write_over(platform: &Platform, key: &str, bytes: &[u8]) {
    let (store, key) = (platform.s3.store(s3::BUCKET).await.unwrap(), s3::key(key));
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    match store.head(&key).await.unwrap() {
        Some(there) => store.replace(&key, &there.etag, bytes, "application/json").await.unwrap(),
        None => store.put_if_absent(&key, bytes, "application/json").await.unwrap(),
    };
}

/// Waits until the day's folder says this, and nothing else.
async fn until_told(platform: &Platform, day: &Day, expected: &Value, rules: &[u8]) {
    let folder = days::folder(day);
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let said = days::read(platform, &format!("{folder}/_SUCCESS")).await;
        let said: Option<Value> = said.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let other = days::read(platform, &format!("{folder}/_FAILED")).await;
        let kept = days::read(platform, &format!("{folder}/classifications/export_tables.parquet")).await;
        if said.as_ref() == Some(expected) && other.is_none() && kept.as_deref() == Some(rules) {
            return;
        }
        assert!(Instant::now() < deadline, "the folder still says {said:?}, {}", other.is_some());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the database says yes to this.
async fn until(platform: &Platform, question: &'static str) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !sqlx::query_scalar::<_, bool>(question).fetch_one(&platform.metadata).await.unwrap() {
        assert!(Instant::now() < deadline, "this does not become true: {question}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_says_something_else_is_made_right() {
    let platform = platform("schedule_checks").await;
    let _worker = days::worker(&platform).await;
    let day = day("UTC", DATE);
    let (right, succeeded) = days::told(&platform, &day, None).await;
    assert!(succeeded);
    let folder = days::folder(&day);
    let rules = days::read(&platform, &format!("{folder}/classifications/export_tables.parquet")).await.unwrap();
    let look =
        "UPDATE export_days SET check_due_at = clock_timestamp(), closed_at = clock_timestamp() - interval '10 days'";

    write_over(&platform, &format!("{folder}/_FAILED"), b"{\"revision\": 0}").await;
    write_over(&platform, &format!("{folder}/_SUCCESS"), b"{\"revision\": 0}").await;
    write_over(&platform, &format!("{folder}/classifications/export_tables.parquet"), b"old").await;
    run(&platform.metadata, look).await;
    until_told(&platform, &day, &right, &rules).await;
    // Looked at again when it is twice as old; until then nobody asks the store.
    let due =
        "SELECT check_due_at BETWEEN clock_timestamp() + interval '9 days' AND clock_timestamp() + interval '11 days'
               FROM export_days";
    until(&platform, due).await;
    let told: i64 = sqlx::query_scalar("SELECT count(*) FROM export_notifications WHERE event_type LIKE 'DAY%'")
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(told, 1, "what is repaired is not told again");

    // An earlier revision is looked at no more when a later one is closed.
    let (later, succeeded) = days::told(&platform, &day, None).await;
    assert!(succeeded);
    let looked_at: Vec<i32> = sqlx::query_scalar("SELECT revision FROM export_days WHERE check_due_at IS NOT NULL")
        .fetch_all(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(looked_at, [2]);
    // In one transaction: nobody looks between them.
    let later_alone = format!("{look}; UPDATE export_days SET check_due_at = NULL WHERE revision = 1");
    run(&platform.metadata, later_alone).await;
    until_told(&platform, &day, &later, &rules).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_frozen_while_it_wrote_a_days_end_has_it_looked_at() {
    let platform = platform("schedule_checks_frozen").await;
    let worker = days::worker(&platform).await;
    let day = day("UTC", DATE);
    let folder = days::folder(&day);
    let (first, succeeded) = days::told(&platform, &day, None).await;
    assert!(succeeded);
    let rules = days::read(&platform, &format!("{folder}/classifications/export_tables.parquet")).await.unwrap();
    worker.stop().await;
    run(&platform.metadata, "UPDATE export_days SET closed_at = NULL, succeeded = NULL, check_due_at = NULL").await;

    // It holds the day's lock and is about to write.
    let (writing, written) = oneshot::channel();
    let (thaw, thawed) = oneshot::channel::<()>();
    let queue = Queue::new(platform.metadata.clone(), settings());
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let (old, at) = (serde_json::to_vec(&first).unwrap(), s3::key(&format!("{folder}/_SUCCESS")));
    let frozen = tokio::spawn(async move {
        let close = queue.close_day(move |_| {
            Box::pin(async move {
                writing.send(()).unwrap();
                thawed.await.unwrap();
                let there = store.head(&at).await.unwrap().unwrap();
                store.replace(&at, &there.etag, old.into(), "application/json").await.unwrap();
                Ok(true)
            })
        });
        close.await
    });
    written.await.unwrap();
    let _worker = days::worker(&platform).await;
    // Nobody else closes the day while the lock is held.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let closed = "SELECT count(*) FROM export_days WHERE closed_at IS NOT NULL";
    assert_eq!(sqlx::query_scalar::<_, i64>(closed).fetch_one(&platform.metadata).await.unwrap(), 0);
    // What the server does with a session that is silent for so long.
    let killed: i64 = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND state = 'idle in transaction' AND pid <> pg_backend_pid()
           AND xact_start < clock_timestamp() - interval '2 s'",
    )
    .fetch_one(&platform.metadata)
    .await
    .unwrap();
    assert_eq!(killed, 1);
    assert!(days::closed(&platform, &day).await);
    run(&platform.warehouse, "INSERT INTO event VALUES (1, '2026-03-02 12:00Z', 'late')").await;
    let (second, succeeded) = days::told(&platform, &day, None).await;
    assert!(succeeded && second["revision"] == 2);
    thaw.send(()).unwrap();
    assert!(frozen.await.unwrap().is_err(), "its lock was somebody else's");
    until_told(&platform, &day, &second, &rules).await;
    // What is right in the folder may not be written down in the database yet.
    until(&platform, "SELECT bool_and(check_due_at > clock_timestamp()) FROM export_days WHERE revision = 2").await;
}
