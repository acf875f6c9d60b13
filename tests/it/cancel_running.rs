//! Cancelling with real stages around it: the query ends, uploads are aborted, nothing is left, and no manifest ever
//! appears.

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_exporter::jobs::{JobId, JobState, JobView, TableState, Tenant};
use data_exporter::local::s3::{Fault, Operation};
use data_exporter::warehouse::postgres::PostgresOptions;

use crate::subscriptions::{Socket, watch};
use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::{Platform, day_range};
use crate::support::s3;

async fn started(name: &str) -> (Platform, Running) {
    let platform = Platform::sample(name, 60_000).await;
    let warehouse = Arc::new(Troubled::new(&platform, PostgresOptions::default()));
    let worker = Running::start(&platform, warehouse).await;
    (platform, worker)
}

async fn cancel(worker: &Running, job: JobId) -> JobView {
    worker.requests.cancel(&Tenant::default(), job, "somebody").await.unwrap().unwrap()
}

async fn until<F: AsyncFn() -> bool>(what: &str, reached: F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reached().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn count(pool: &sqlx::PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

/// Every object of the bucket, and uploads that are open.
async fn stored(platform: &Platform) -> (Vec<String>, usize) {
    let client = s3::bare_client(&platform.s3.endpoint());
    let objects = client.list_objects_v2().bucket(s3::BUCKET).send().await.unwrap();
    let keys = objects.contents().iter().map(|object| object.key().unwrap().to_owned()).collect();
    let uploads = client.list_multipart_uploads().bucket(s3::BUCKET).send().await.unwrap();
    (keys, uploads.uploads().len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_export_stops_within_seconds_and_leaves_nothing() {
    let (platform, worker) = started("cancel_in_upload").await;
    // So slow that the uploads are certainly open.
    platform.s3.faults().bandwidth(Some(2_000));
    let job = worker.request(&["probe_speed", "way"]).await;
    until("both tables are being read", async || {
        count(
            &platform.metadata,
            "SELECT count(*) FROM export_job_partitions AS p JOIN export_staged_objects AS s ON s.partition_id = p.id
             WHERE p.state = 'RUNNING' AND p.rows_seen > 0 AND s.upload_id IS NOT NULL",
        )
        .await
            == 2
    })
    .await;
    assert_eq!(stored(&platform).await.1, 2);
    let asked = Instant::now();
    assert_eq!(cancel(&worker, job).await.state, JobState::Cancelling);
    let ended = worker.finished(job).await;
    assert_eq!(ended.state, JobState::Cancelled);
    until("uploads aborted", async || stored(&platform).await.1 == 0).await;
    let queries = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%' \
                   AND datname = current_database()";
    until("queries ended", async || count(&platform.warehouse, queries).await == 0).await;
    println!("cancelled, uploads aborted and queries ended after {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    until("nothing is stored", async || stored(&platform).await.0.is_empty()).await;
    assert_eq!(count(&platform.metadata, "SELECT count(*) FROM export_jobs WHERE slot IS NOT NULL").await, 0);

    // The worker is not harmed by it.
    platform.s3.faults().bandwidth(None);
    let again = worker.finished(worker.request(&["way"]).await).await;
    assert_eq!(again.state, JobState::Completed, "{:?}", again.error);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_before_the_seal_a_table_gets_no_manifest_and_its_copies_go() {
    let (platform, worker) = started("cancel_copying").await;
    // The first copy is done, and its answer takes its time.
    platform.s3.faults().next(Operation::Copy, 1, Fault::Delay(Duration::from_secs(4)));
    let job = worker.request(&["way"]).await;
    until("it is being copied", async || {
        worker.view(job).await.tables.iter().any(|t| t.state == TableState::Finalizing)
    })
    .await;
    let asked = Instant::now();
    cancel(&worker, job).await;
    let ended = worker.finished(job).await;
    assert_eq!(ended.state, JobState::Cancelled);
    assert_eq!(ended.tables[0].error.as_ref().unwrap().code, "CANCELLED");
    println!("cancelled while finalizing after {:?}", asked.elapsed());
    tokio::time::sleep(Duration::from_secs(5)).await;
    until("nothing is stored", async || stored(&platform).await.0.is_empty()).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_after_the_seal_the_answer_waits_for_the_manifest() {
    let (platform, worker) = started("cancel_sealed_running").await;
    platform.s3.faults().next(Operation::PutObject, 1, Fault::Delay(Duration::from_secs(3)));
    let job = worker.request(&["way"]).await;
    until("it is sealed", async || {
        count(&platform.metadata, "SELECT count(*) FROM export_job_tables WHERE sealed_at IS NOT NULL").await == 1
    })
    .await;
    cancel(&worker, job).await;
    let manifests = |keys: &[String]| keys.iter().filter(|key| key.ends_with("/manifest")).count();
    let answered = stored(&platform).await.0;
    assert_eq!(manifests(&answered), 1, "answered before the manifest was written: {answered:?}");
    let ended = worker.finished(job).await;
    // Nothing was left to be cancelled, and what is published is said to be.
    assert_eq!((ended.state, ended.progress), (JobState::Completed, 100.0));
    assert_eq!(ended.tables[0].files.len(), 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_graphql_a_request_is_cancelled_and_its_watchers_are_told() {
    let platform = Platform::sample("cancel_graphql", 8_000).await;
    let api = platform.serve("api", "api", &[]).await;
    let id = api.request(day_range()).await;
    let mut watcher = Socket::ready(&api).await;
    watcher.subscribe("1", &watch(&id)).await;
    assert_eq!(watcher.hear().await.unwrap()["payload"]["data"]["requestProgress"]["state"], "QUEUED");
    let ask = |id: &str| {
        format!(
            "mutation {{ cancelRequest(requestId: \"{id}\") {{ status state error {{ code message }} progress }} }}"
        )
    };
    let answer = api.ask(&ask(&id)).await;
    let answer = &answer["data"]["cancelRequest"];
    assert_eq!((answer["status"].as_str(), answer["state"].as_str()), (Some("Cancelled"), Some("CANCELLED")));
    assert_eq!(answer["error"]["code"], "CANCELLED");
    assert!(answer["error"]["message"].as_str().unwrap().contains("local"), "{answer}");
    for unknown in ["not an id", "0190b5f2-5a3e-7cc0-8000-0123456789ab"] {
        let answer = api.ask(&ask(unknown)).await;
        assert_eq!(answer["data"]["cancelRequest"]["status"], "Request has not been requested");
    }
    let told = watcher.hear().await.unwrap();
    assert_eq!(told["payload"]["data"]["requestProgress"]["status"], "Cancelled");
    assert_eq!(watcher.hear().await.unwrap()["type"], "complete");
}
