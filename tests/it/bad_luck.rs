//! What nobody ordered: clocks that are wrong, and an upload that the store has forgotten.

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_exporter::jobs::JobState;
use data_exporter::rules::shipped;
use data_exporter::warehouse::postgres::PostgresOptions;
use sqlx::AssertSqlSafe;

use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::Platform;
use crate::support::{cluster, s3};

async fn worker(platform: &Platform) -> Running {
    Running::start(platform, Arc::new(Troubled::new(platform, PostgresOptions::default()))).await
}

/// The most attempts and crashes of anything.
async fn counted(platform: &Platform) -> (i32, i32) {
    sqlx::query_as(
        "SELECT max(attempts), max(crashes) FROM (
             SELECT attempts, crashes FROM export_jobs UNION ALL SELECT attempts, crashes FROM export_job_tables
             UNION ALL SELECT attempts, crashes FROM export_job_partitions) AS counted",
    )
    .fetch_one(&platform.metadata)
    .await
    .unwrap()
}

/// Puts the queue into a database whose clock is so many seconds off. Whoever asks it for the time is told the wrong one,
/// the defaults of its columns, too.
async fn with_clock_off(platform: &mut Platform, name: &str, seconds: i64) {
    platform.metadata_url = cluster::create(name).await;
    platform.metadata = cluster::pool(&platform.metadata_url).await;
    let clock = format!(
        "CREATE TABLE clock_off (seconds bigint NOT NULL);
         INSERT INTO clock_off VALUES ({seconds});
         CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
             'SELECT pg_catalog.clock_timestamp() + make_interval(secs => (SELECT seconds FROM public.clock_off))';
         ALTER DATABASE {name} SET search_path = public, pg_catalog"
    );
    sqlx::raw_sql(AssertSqlSafe(clock)).execute(&platform.metadata).await.unwrap();
    platform.metadata = cluster::pool(&platform.metadata_url).await;
    sqlx::migrate!("./migrations").run(&platform.metadata).await.unwrap();
    platform.rules().apply(&shipped().unwrap(), "test").await.unwrap();
    let off: f64 =
        sqlx::query_scalar("SELECT extract(epoch FROM clock_timestamp() - pg_catalog.clock_timestamp())::float8")
            .fetch_one(&platform.metadata)
            .await
            .unwrap();
    assert!((off - seconds as f64).abs() < 5.0, "the clock is {off} s off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_clock_is_an_hour_off_changes_nothing() {
    for (name, seconds) in [("clock_ahead", 3_600), ("clock_behind", -3_600)] {
        let mut platform = Platform::sample(&format!("{name}_sample"), 4_000).await;
        with_clock_off(&mut platform, name, seconds).await;
        let worker = worker(&platform).await;
        // So slow that a lease is renewed, too.
        platform.s3.faults().bandwidth(Some(500));
        let job = worker.request(&["vms", "cctv"]).await;
        let renewed = "SELECT count(*) FROM export_job_partitions WHERE heartbeat_at > started_at + interval '1 s'";
        until("a lease is renewed", async || {
            sqlx::query_scalar::<_, i64>(renewed).fetch_one(&platform.metadata).await.unwrap() > 0
        })
        .await;
        platform.s3.faults().bandwidth(None);
        let view = worker.finished(job).await;
        assert_eq!(view.state, JobState::Completed, "{name}: {:?}", view.error);
        assert_eq!(counted(&platform).await, (1, 0), "{name}: nobody was taken for dead");
        worker.stop().await;
    }
}

/// Set forward in mid-run, it ends every lease. What is done twice is committed once.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_forward_costs_an_attempt_and_no_row() {
    let mut platform = Platform::sample("clock_jumps_sample", 8_000).await;
    with_clock_off(&mut platform, "clock_jumps", 0).await;
    platform.s3.faults().bandwidth(Some(300));
    let worker = worker(&platform).await;
    let job = worker.request(&["vms"]).await;
    let reading = "SELECT count(*) FROM export_job_partitions WHERE state = 'RUNNING' AND rows_seen > 0";
    until("it is read", async || {
        sqlx::query_scalar::<_, i64>(reading).fetch_one(&platform.metadata).await.unwrap() > 0
    })
    .await;
    sqlx::raw_sql("UPDATE clock_off SET seconds = 3600").execute(&platform.metadata).await.unwrap();
    let overtaken = "SELECT count(*) FROM export_job_partitions WHERE lease_epoch > 1";
    let seen = async || sqlx::query_scalar::<_, i64>(overtaken).fetch_one(&platform.metadata).await.unwrap() > 0;
    let renewed = "SELECT bool_and(lease_until > clock_timestamp()) FROM export_job_partitions WHERE state = 'RUNNING'";
    // Either the reaper comes first, or the next heartbeat does, and then nothing was lost.
    until("it is taken back or renewed", async || {
        seen().await
            || sqlx::query_scalar::<_, Option<bool>>(renewed).fetch_one(&platform.metadata).await.unwrap() == Some(true)
    })
    .await;
    platform.s3.faults().bandwidth(None);
    let view = worker.finished(job).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    let stale: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM export_job_partitions WHERE staging_key NOT LIKE '%/' || id || '-e' || lease_epoch || '-%'",
    )
    .fetch_one(&platform.metadata)
    .await
    .unwrap();
    assert_eq!(stale, 0);
    worker.stop().await;
}

async fn until<F: AsyncFn() -> bool>(what: &str, reached: F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_store_has_lost_is_begun_again_from_the_first_row() {
    let platform = Platform::sample("lost_upload", 8_000).await;
    // So slow that the upload is certainly open.
    platform.s3.faults().bandwidth(Some(300));
    let worker = worker(&platform).await;
    let job = worker.request(&["vms"]).await;
    let client = s3::bare_client(&platform.s3.endpoint());
    let open = async || {
        let open = client.list_multipart_uploads().bucket(s3::BUCKET).send().await.unwrap();
        open.uploads().first().map(|upload| (upload.key().unwrap().to_owned(), upload.upload_id().unwrap().to_owned()))
    };
    let recorded = "SELECT count(*) FROM export_staged_objects WHERE upload_id IS NOT NULL";
    until("an upload is recorded", async || {
        sqlx::query_scalar::<_, i64>(recorded).fetch_one(&platform.metadata).await.unwrap() > 0
    })
    .await;
    let (lost, id) = open().await.expect("it is open still");
    client.abort_multipart_upload().bucket(s3::BUCKET).key(&lost).upload_id(id).send().await.unwrap();
    platform.s3.faults().bandwidth(None);
    let view = worker.finished(job).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    assert_eq!(counted(&platform).await, (2, 0));
    let (key, rows): (String, i64) = sqlx::query_as("SELECT staging_key, row_count FROM export_job_partitions")
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
    assert_ne!(key, lost, "another attempt writes another object");
    assert_eq!(view.tables[0].files.iter().map(|file| file.rows).sum::<i64>(), rows);
    worker.stop().await;
}
