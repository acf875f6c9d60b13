//! Limits on what a process reads a second: they hold for all scans together, reach the server, and look like nothing else.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use data_exporter::jobs::JobState;
use data_exporter::pipeline::PipelineSettings;
use data_exporter::warehouse::postgres::{PostgresOptions, PostgresWarehouse};
use data_exporter::warehouse::{HeldBack, ReadLimits, ScanContext, ScanSpec, Warehouse};

use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::Platform;
use crate::support::s3;
use crate::support::warehouse::{TestWarehouse, context, url};

fn limited(rows: u64, bytes: u64) -> PostgresOptions {
    let read_limits = ReadLimits { rows: NonZeroU64::new(rows), bytes: NonZeroU64::new(bytes) };
    PostgresOptions { read_limits, ..PostgresOptions::default() }
}

/// Reads a scan to its end and counts its rows.
async fn rows(warehouse: &PostgresWarehouse, scan: &ScanSpec, context: &ScanContext) -> u64 {
    let mut stream = warehouse.scan(scan, context).await.unwrap();
    let mut rows = 0;
    while let Some(batch) = stream.next().await.unwrap() {
        rows += batch.num_rows() as u64;
    }
    rows
}

#[tokio::test]
async fn all_scans_together_hold_the_limit_and_the_server_waits() {
    const ROWS: u64 = 30_000;
    let mut test = TestWarehouse::new("pace_scans").await;
    // Some 500 bytes a row: 15 MB, more than sockets hold.
    test.run(format!(
        "CREATE TABLE t AS SELECT g::bigint AS id, repeat('x', 480) AS text FROM generate_series(1, {ROWS}) g"
    ))
    .await;
    let scan = test.whole("t").await;
    for (name, limits, least) in [
        // Two scans: twice the rows, less what fits into the bucket and the last buffer of each, which nobody waits for.
        ("rows", limited(20_000, 0), Duration::from_millis(2_500)),
        ("bytes", limited(0, 10_000_000), Duration::from_millis(2_500)),
    ] {
        let warehouse = PostgresWarehouse::new(url().into(), limits).unwrap();
        let counter = Arc::new(AtomicI64::new(0));
        let name = format!("pace {name}");
        let patient = ScanContext {
            // Shorter than the scans take, and than a buffer is paid for where rows are short.
            first_row_timeout: Duration::from_millis(1_500),
            held_back: HeldBack::counted_in(Arc::clone(&counter)),
            ..context(&name)
        };
        let begun = Instant::now();
        let reading = async { tokio::join!(rows(&warehouse, &scan, &patient), rows(&warehouse, &scan, &patient)) };
        let watching = async {
            let waits = format!(
                "SELECT 'x' FROM pg_stat_activity WHERE application_name = '{name}' AND wait_event = 'ClientWrite'"
            );
            while test.texts(waits.as_str()).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ((one, other), ()) = tokio::join!(reading, watching);
        assert_eq!((one, other), (ROWS, ROWS), "{name}");
        assert!(begun.elapsed() >= least, "{name}: {:?}", begun.elapsed());
        assert!(counter.load(Ordering::Relaxed) > 0, "{name}: nobody was told");
    }
}

/// Scans so short that they have ended before they could be made to wait.
#[tokio::test]
async fn many_short_scans_do_not_slip_through() {
    let mut test = TestWarehouse::new("pace_short").await;
    test.run("CREATE TABLE t AS SELECT g::bigint AS id FROM generate_series(1, 100) g").await;
    let scan = test.whole("t").await;
    let warehouse = PostgresWarehouse::new(url().into(), limited(500, 0)).unwrap();
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(rows(&warehouse, &scan, &context("pace short")).await, 100);
    }
    // Nobody waits for the last one, nor for what the bucket holds.
    assert!(begun.elapsed() >= Duration::from_millis(1_600), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_held_back_is_not_one_that_stands_still() {
    let platform = Platform::sample("pace_export", 8_000).await;
    let expected: i64 = {
        let troubled = Troubled::new(&platform, PostgresOptions::default());
        let running = Running::start(&platform, Arc::new(troubled)).await;
        let job = running.request(&["probe_speed"]).await;
        let view = running.finished(job).await;
        running.stop().await;
        assert_eq!(view.state, JobState::Completed, "{view:?}");
        view.tables[0].rows
    };
    assert!((500..16_000).contains(&expected), "{expected}");
    // It comes in a batch or two, and takes thirty seconds to pay for: more than may pass without a move, and more than the
    // first row may take beside it.
    let limits = limited(u64::try_from(expected).unwrap() / 30, 0);
    let stages = PipelineSettings {
        stall: Duration::from_secs(10),
        first_row_timeout: Duration::from_secs(10),
        ..PipelineSettings::default()
    };
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    let running = Running::with_settings(&platform, Arc::new(Troubled::new(&platform, limits)), store, stages);
    let job = running.request(&["probe_speed"]).await;
    let view = running.finished(job).await;
    running.stop().await;
    assert_eq!(view.state, JobState::Completed, "{view:?}");
    assert_eq!(view.tables[0].rows, expected);
    let attempts: i64 = sqlx::query_scalar("SELECT sum(attempts)::int8 FROM export_job_partitions WHERE job_id = $1")
        .bind(job.0)
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
    let partitions: i64 = sqlx::query_scalar("SELECT count(*) FROM export_job_partitions WHERE job_id = $1")
        .bind(job.0)
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(attempts, partitions, "an attempt was ended");
}
