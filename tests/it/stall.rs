//! Work that is alive and does not go on: its own worker ends it.

use std::sync::Arc;
use std::time::Duration;

use data_exporter::jobs::{ExportFormat, FileChoice, JobState, TableState};
use data_exporter::local::s3::{Fault, Operation};
use data_exporter::pipeline::PipelineSettings;
use data_exporter::warehouse::postgres::PostgresOptions;

use crate::support::inprocess::{Running, Silence, Troubled};
use crate::support::platform::Platform;
use crate::support::s3;

/// What may not move for so many seconds.
fn impatient(seconds: u64) -> PipelineSettings {
    let patience = Duration::from_secs(seconds);
    PipelineSettings { stall: patience, first_row_timeout: patience, ..PipelineSettings::default() }
}

/// More than half of what may pass without anything moving, with time left for a machine that has other things to do.
const PATIENCE: u64 = 4;
const HALF: Duration = Duration::from_millis(2_400);

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_falls_silent_is_ended_and_tried_again() {
    for (times, state) in [(1, JobState::Completed), (usize::MAX, JobState::Failed)] {
        let platform = Platform::sample("silent_scan", 8_000).await;
        let mut warehouse = Troubled::new(&platform, PostgresOptions::default());
        warehouse.silent = Some(Silence { table: "way".parse().unwrap(), scans: times, batches: 1 });
        let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
        let worker = Running::with_settings(&platform, Arc::new(warehouse), store, impatient(PATIENCE));
        let view = worker.finished(worker.request(&["vms", "way"]).await).await;
        assert_eq!(view.state, state, "{:?}", view.error);
        let way = &view.tables[1];
        let (attempts, crashes): (i32, i32) =
            sqlx::query_as("SELECT max(attempts), max(crashes) FROM export_job_partitions WHERE table_name = 'way'")
                .fetch_one(&platform.metadata)
                .await
                .unwrap();
        if state == JobState::Failed {
            let error = way.error.as_ref().unwrap();
            assert_eq!((error.code.as_str(), error.retryable()), ("NO_PROGRESS", true));
            assert!(error.message.contains("EXPORTER_STALL_SECONDS"), "{}", error.message);
            assert_eq!((attempts, crashes), (3, 0), "each counts as an attempt, none as a crash");
            assert_eq!(view.tables[0].state, TableState::Completed, "the other table goes on");
        } else {
            assert_eq!((attempts, crashes), (2, 0));
            assert_eq!(way.state, TableState::Completed);
        }
        worker.stop().await;
    }
}

/// A store so slow that nearly all time passes in it moves something all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_slow_but_moves_is_left_alone() {
    let platform = Platform::sample("slow_store", 8_000).await;
    let warehouse = Arc::new(Troubled::new(&platform, PostgresOptions::default()));
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    let worker = Running::with_settings(&platform, warehouse, store, impatient(PATIENCE));
    let delay = Fault::Delay(Duration::from_millis(900));
    platform.s3.faults().often(None, 100, delay);
    let view = worker.finished(worker.request(&["vms"]).await).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    let attempts: i32 = sqlx::query_scalar("SELECT max(attempts) FROM export_job_partitions")
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(attempts, 1);
    worker.stop().await;
}

/// The last gate reads a staged file back; all of it may take longer than nothing may move.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_reads_for_long_is_left_alone() {
    let platform = Platform::sample("slow_gate", 8_000).await;
    let warehouse = Arc::new(Troubled::new(&platform, PostgresOptions::default()));
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    let worker = Running::with_settings(&platform, warehouse, store, impatient(PATIENCE));
    platform.s3.faults().often(Some(Operation::GetObject), 100, Fault::Delay(HALF));
    let view = worker.finished(worker.request(&["vms"]).await).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    let reads = platform.s3.faults().seen(Operation::GetObject);
    assert!(reads >= 2, "nothing but these moved for longer than may be: {reads} reads");
    let (attempts, crashes): (i32, i32) = sqlx::query_as("SELECT max(attempts), max(crashes) FROM export_job_tables")
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
    assert_eq!((attempts, crashes), (1, 0));
    worker.stop().await;
}

/// When the last row of a file of lines has been read, it is still to be stored: part by part, and then put together.
#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_stored_slowly_are_left_alone() {
    let platform = Platform::sample("slow_lines", 8_000).await;
    let warehouse = Arc::new(Troubled::new(&platform, PostgresOptions::default()));
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    let worker = Running::with_settings(&platform, warehouse, store, impatient(PATIENCE));
    for operation in [Operation::UploadPart, Operation::CompleteMultipart] {
        platform.s3.faults().often(Some(operation), 100, Fault::Delay(HALF));
    }
    for format in [ExportFormat::Csv, ExportFormat::Jsonl] {
        let job = worker.request_in(&["vms"], FileChoice { format: Some(format), compression: None }).await;
        worker.finished(job).await;
        let (partitions, done, attempts): (i64, i64, i32) = sqlx::query_as(
            "SELECT count(*), count(*) FILTER (WHERE state = 'COMPLETED'), max(attempts)
             FROM export_job_partitions WHERE job_id = $1",
        )
        .bind(job.0)
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
        assert_eq!((done, attempts), (partitions, 1), "{format:?}");
    }
    worker.stop().await;
}
