//! What the store does when the attempt that asked for it is over already, because the request was on its way so long:
//! whatever became of the attempt, no upload stays open and no copy stays behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_exporter::jobs::{JobId, JobState, Tenant};
use data_exporter::local::s3::{Fault, Operation};
use data_exporter::pipeline::PipelineSettings;
use data_exporter::storage::ObjectStore;
use data_exporter::storage::s3::{S3Settings, S3Store};
use data_exporter::warehouse::postgres::PostgresOptions;

use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::Platform;
use crate::support::s3;

async fn worker(platform: &Platform) -> Running {
    worker_over(platform, platform.s3.store(s3::BUCKET).await.unwrap()).await
}

async fn worker_over(platform: &Platform, store: S3Store) -> Running {
    let warehouse = Arc::new(Troubled::new(platform, PostgresOptions::default()));
    let store = Arc::new(store);
    // Nothing but what is done to it ends an attempt.
    let patient = PipelineSettings { stall: Duration::from_secs(300), ..PipelineSettings::default() };
    Running::with_settings(platform, warehouse, store, patient)
}

async fn until<F: AsyncFn() -> bool>(what: &str, reached: F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether the first attempt counts as cleaned up.
async fn cleaned_up(platform: &Platform) -> bool {
    let sql = "SELECT removed_at IS NOT NULL FROM export_staged_objects WHERE lease_epoch = 1";
    sqlx::query_scalar(sql).fetch_one(&platform.metadata).await.unwrap()
}

async fn open_uploads(platform: &Platform) -> usize {
    let client = s3::bare_client(&platform.s3.endpoint());
    client.list_multipart_uploads().bucket(s3::BUCKET).send().await.unwrap().uploads().len()
}

/// Every object's key.
async fn objects(platform: &Platform) -> Vec<String> {
    let listed = s3::bare_client(&platform.s3.endpoint()).list_objects_v2().bucket(s3::BUCKET).send().await.unwrap();
    listed.contents().iter().filter_map(|object| object.key()).map(str::to_owned).collect()
}

/// An installation with a worker whose first attempt has asked for an upload and has no answer.
async fn asked_for_an_upload(name: &str) -> (Platform, Running, JobId) {
    let platform = Platform::sample(name, 8_000).await;
    platform.s3.faults().next(Operation::CreateMultipart, 1, Fault::Held);
    let worker = worker(&platform).await;
    let job = worker.request(&["vms"]).await;
    until("it asks for an upload", async || platform.s3.faults().seen(Operation::CreateMultipart) >= 1).await;
    (platform, worker, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_a_cancelled_request() {
    let (platform, worker, job) = asked_for_an_upload("late_cancelled").await;
    worker.requests.cancel(&Tenant::default(), job, "somebody").await.unwrap();
    assert_eq!(worker.finished(job).await.state, JobState::Cancelled);
    until("clean-up has found nothing", async || cleaned_up(&platform).await).await;
    assert_eq!(platform.s3.faults().seen(Operation::AbortMultipart), 0);
    platform.s3.faults().let_go();
    until("the upload is aborted", async || platform.s3.faults().seen(Operation::AbortMultipart) >= 1).await;
    until("none is open", async || open_uploads(&platform).await == 0).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_an_attempt_that_lost_its_lease() {
    let (platform, worker, job) = asked_for_an_upload("late_lost").await;
    until("somebody takes it over", async || {
        // Its heartbeat may have come in between.
        let late = "UPDATE export_job_partitions SET lease_until = clock_timestamp() - interval '1 s'
                    WHERE lease_epoch = 1 AND lease_until IS NOT NULL";
        sqlx::raw_sql(late).execute(&platform.metadata).await.unwrap();
        cleaned_up(&platform).await
    })
    .await;
    // Its worker hears of it with the next heartbeat, within two seconds, and drops the attempt.
    tokio::time::sleep(Duration::from_secs(3)).await;
    platform.s3.faults().let_go();
    let view = worker.finished(job).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    worker.stop().await;
    until("none is open", async || open_uploads(&platform).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_a_worker_that_stops() {
    let (platform, first, job) = asked_for_an_upload("late_stopped").await;
    let second = worker(&platform).await;
    let asked = Instant::now();
    let stopping = tokio::spawn(first.stop());
    until("clean-up has found nothing", async || cleaned_up(&platform).await).await;
    // For so long it waits for the answer.
    assert!(!stopping.is_finished() || asked.elapsed() >= Duration::from_secs(5), "it left before it had its answer");
    platform.s3.faults().let_go();
    stopping.await.unwrap();
    assert_eq!(second.finished(job).await.state, JobState::Completed);
    until("none is open", async || open_uploads(&platform).await == 0).await;
    second.stop().await;
}

/// A store copies gigabytes for minutes, and goes on with it when nobody waits any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_cancelled_request() {
    let platform = Platform::sample("late_copy", 8_000).await;
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    platform.s3.faults().next(Operation::Copy, 1, Fault::Held);
    let worker = worker(&platform).await;
    let job = worker.request(&["vms"]).await;
    until("it is being copied", async || platform.s3.faults().seen(Operation::Copy) >= 1).await;
    let staged = s3::key(&objects(&platform).await[0]);
    let (etag, bytes) = (store.head(&staged).await.unwrap().unwrap().etag, store.get(&staged).await.unwrap());
    worker.requests.cancel(&Tenant::default(), job, "somebody").await.unwrap();
    assert_eq!(worker.finished(job).await.state, JobState::Cancelled);
    let waiting = "SELECT count(*) FROM export_job_tables WHERE publication IS NOT NULL";
    until("clean-up has found nothing", async || {
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&platform.metadata).await.unwrap();
        waiting == 0 && objects(&platform).await.is_empty()
    })
    .await;
    // The store reads on what is deleted already; this one must have it to read.
    let upload = store.create_multipart(&staged, "text/plain").await.unwrap();
    let size = bytes.len() as u64;
    let part = store.upload_part(&staged, &upload, 1, bytes).await.unwrap();
    assert_eq!(store.complete_multipart(&staged, &upload, &[part], size).await.unwrap().etag, etag);
    let deleted = platform.s3.faults().seen(Operation::DeleteObject);
    platform.s3.faults().let_go();
    until("the copy is made, and deleted", async || platform.s3.faults().seen(Operation::DeleteObject) > deleted).await;
    until("what it was made of is left", async || objects(&platform).await == [staged.to_string()]).await;
    worker.stop().await;
}

/// Large objects are copied in parts, by an upload under the final name.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_parts_of_a_cancelled_request() {
    let platform = Platform::sample("late_parts", 8_000).await;
    let settings = S3Settings { copy_at_once: 1, ..platform.s3.settings(s3::BUCKET) };
    platform.s3.faults().next(Operation::Copy, 1, Fault::Held);
    let worker = worker_over(&platform, S3Store::connect(settings).await.unwrap()).await;
    let job = worker.request(&["vms"]).await;
    until("a part is being copied", async || platform.s3.faults().seen(Operation::Copy) >= 1).await;
    assert_eq!(open_uploads(&platform).await, 1);
    worker.requests.cancel(&Tenant::default(), job, "somebody").await.unwrap();
    assert_eq!(worker.finished(job).await.state, JobState::Cancelled);
    until("the upload is aborted", async || open_uploads(&platform).await == 0).await;
    until("nothing is stored", async || objects(&platform).await.is_empty()).await;
    platform.s3.faults().let_go();
    worker.stop().await;
    assert_eq!(open_uploads(&platform).await, 0);
}

/// Who may abort and not list loses nothing that is known.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_cleaned_up_where_the_store_refuses_to_list() {
    let platform = Platform::sample("late_unlisted", 8_000).await;
    platform.s3.faults().often(Some(Operation::Other), 100, Fault::Denied);
    let worker = worker(&platform).await;
    let job = worker.request(&["vms"]).await;
    assert_eq!(worker.finished(job).await.state, JobState::Completed);
    until("the staged object is cleaned up", async || cleaned_up(&platform).await).await;
    platform.s3.faults().clear();
    assert!(objects(&platform).await.iter().all(|key| !key.contains("_staging")));
    worker.stop().await;
}
