//! What has been published long ago expires, and only then its files go: those that are recorded, and no others.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use data_exporter::jobs::{JobState, Queue, Requests, Tenant};
use data_exporter::local::s3::{Fault, Operation};
use data_exporter::pipeline::{Retained, retain};
use data_exporter::storage::ObjectStore;
use serde_json::Value;
use sqlx::postgres::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::platform::Platform;
use crate::support::queue::settings;
use crate::support::{metadata, s3};

const KEEP: Duration = Duration::from_secs(7 * 86_400);

async fn ago(pool: &PgPool, days: i64) -> DateTime<Utc> {
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await.unwrap();
    now - TimeDelta::days(days)
}

/// A job of that age with this table published as two files and a manifest, all in the bucket.
async fn published(platform: &Platform, state: &str, days: i64, name: &str) -> Uuid {
    let at = ago(&platform.metadata, days).await;
    let job = metadata::job(&platform.metadata, "default", state, at).await;
    let keys = [format!("dev/x/{name}/way_000.parquet"), format!("dev/x/{name}/way_001.parquet")];
    metadata::table(&platform.metadata, job, "way", "COMPLETED", &[(&keys[0], 1, 4), (&keys[1], 1, 4)]).await;
    metadata::status_row(&platform.metadata, job, "default", "way", "COMPLETED", at).await;
    let manifest = format!("dev/x/{name}/manifest");
    sqlx::query("UPDATE table_export_job_statuses SET manifest_url = $2 WHERE job_id = $1")
        .bind(job)
        .bind(format!("s3://{}/{manifest}", s3::BUCKET))
        .execute(&platform.metadata)
        .await
        .unwrap();
    for key in keys.iter().chain([&manifest, &format!("dev/x/{name}/somebody-elses")]) {
        let put = s3::bare_client(&platform.s3.endpoint()).put_object().bucket(s3::BUCKET).key(key);
        put.body(b"PAR1".to_vec().into()).send().await.unwrap();
    }
    job
}

async fn stored(platform: &Platform, name: &str) -> Vec<String> {
    let client = s3::bare_client(&platform.s3.endpoint());
    let found = client.list_objects_v2().bucket(s3::BUCKET).prefix(format!("dev/x/{name}/")).send().await.unwrap();
    found.contents().iter().map(|o| o.key().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
}

async fn run(platform: &Platform) -> Retained {
    let queue = Queue::new(platform.metadata.clone(), settings());
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    retain(&queue, &store as &dyn ObjectStore, KEEP, &CancellationToken::new()).await.unwrap()
}

async fn state(platform: &Platform, job: Uuid) -> (JobState, f64) {
    let requests = Requests::new(platform.metadata.clone());
    let view = requests.find(&Tenant::default(), data_exporter::jobs::JobId(job)).await.unwrap().unwrap();
    (view.state, view.progress)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_expires_and_its_recorded_files_go() {
    let platform = Platform::empty("retention_old").await;
    let old = published(&platform, "COMPLETED", 8, "old").await;
    let failed = published(&platform, "FAILED", 8, "failed").await;
    let cancelled = published(&platform, "CANCELLED", 8, "cancelled").await;
    let young = published(&platform, "COMPLETED", 6, "young").await;
    let scheduled = published(&platform, "COMPLETED", 400, "scheduled").await;
    sqlx::query("UPDATE export_jobs SET kind = 'scheduled' WHERE id = $1")
        .bind(scheduled)
        .execute(&platform.metadata)
        .await
        .unwrap();
    let empty = metadata::job(&platform.metadata, "default", "FAILED", ago(&platform.metadata, 8).await).await;

    let would: Vec<Uuid> =
        Requests::new(platform.metadata.clone()).to_retain(KEEP).await.unwrap().iter().map(|job| job.id).collect();
    assert_eq!(would.len(), 3);
    assert!([old, failed, cancelled].iter().all(|job| would.contains(job)));
    assert_eq!(stored(&platform, "old").await.len(), 4, "looking changes nothing");

    assert_eq!(run(&platform).await, Retained { jobs: 3, objects: 9, failed: 0 });
    for (job, name) in [(old, "old"), (failed, "failed"), (cancelled, "cancelled")] {
        assert_eq!(state(&platform, job).await, (JobState::Expired, 100.0), "{name}");
        assert_eq!(stored(&platform, name).await, ["somebody-elses"], "{name}");
    }
    for (job, name) in [(young, "young"), (scheduled, "scheduled")] {
        assert_eq!(state(&platform, job).await.0, JobState::Completed, "{name}");
        assert_eq!(stored(&platform, name).await.len(), 4, "{name}");
    }
    assert_eq!(state(&platform, empty).await.0, JobState::Failed, "it had nothing to lose");
    assert_eq!(run(&platform).await, Retained::default());
    assert!(Requests::new(platform.metadata.clone()).to_retain(KEEP).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_anywhere_it_goes_on_later() {
    let platform = Platform::empty("retention_interrupted").await;
    let job = published(&platform, "COMPLETED", 8, "a").await;
    // The manifest goes, the first file does not.
    let faults = platform.s3.faults();
    faults.next(Operation::DeleteObject, 1, Fault::Delay(Duration::ZERO));
    faults.next(Operation::DeleteObject, 1, Fault::Denied);
    assert_eq!(run(&platform).await, Retained { jobs: 0, objects: 0, failed: 1 });
    assert_eq!(state(&platform, job).await.0, JobState::Expired);
    assert_eq!(stored(&platform, "a").await, ["somebody-elses", "way_000.parquet", "way_001.parquet"]);
    // Another replica leaves it alone for a while, and then takes it up.
    assert_eq!(run(&platform).await, Retained::default());
    sqlx::raw_sql("UPDATE export_jobs SET purge_until = clock_timestamp()").execute(&platform.metadata).await.unwrap();
    assert_eq!(run(&platform).await, Retained { jobs: 1, objects: 3, failed: 0 });
    assert_eq!(stored(&platform, "a").await, ["somebody-elses"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_bucket_holds_is_left_alone() {
    let platform = Platform::empty("retention_bucket").await;
    published(&platform, "COMPLETED", 8, "a").await;
    sqlx::raw_sql("UPDATE table_export_job_statuses SET manifest_url = 's3://another/dev/x/a/manifest'")
        .execute(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(run(&platform).await.failed, 1);
    assert_eq!(stored(&platform, "a").await.len(), 4);
}

/// A link keeps what it promises, and promises no more than can be kept.
#[tokio::test(flavor = "multi_thread")]
async fn while_somebody_may_download_the_files_stay() {
    let platform = Platform::empty("retention_links").await;
    let job = published(&platform, "COMPLETED", 6, "a").await;
    let week = [("EXPORTER_RETENTION_DAYS", "7")];
    let service = platform.serve("presigned", "api", &week).await;
    let status = service.status(&job.to_string()).await;
    let end: DateTime<Utc> = status["linksExpireAt"].as_str().unwrap().parse().unwrap();
    let kept = ago(&platform.metadata, -1).await;
    assert!(end <= kept && end > kept - TimeDelta::minutes(5), "{end} is not when the files go, {kept}");
    let link = status["dataRequestDownloadLinks"]["way"][0].as_str().unwrap().to_owned();

    // Somebody shortens retention: the job expires now, and the files wait for the link.
    sqlx::raw_sql("UPDATE export_jobs SET completed_at = completed_at - interval '2 days'")
        .execute(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(run(&platform).await, Retained::default());
    let status = service.status(&job.to_string()).await;
    assert_eq!((status["status"].as_str(), status["progress"].as_f64()), (Some("Expired"), Some(100.0)));
    assert_eq!(status["linksExpireAt"], Value::Null);
    assert_eq!(reqwest::get(&link).await.unwrap().status(), 200);
    sqlx::raw_sql("UPDATE export_link_grants SET expires_at = clock_timestamp()")
        .execute(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(run(&platform).await.jobs, 1);
    assert_eq!(reqwest::get(&link).await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_our_own_to_what_has_expired_is_refused_and_written_down() {
    let platform = Platform::empty("retention_redirect").await;
    let job = published(&platform, "COMPLETED", 6, "a").await;
    let settings = [("EXPORTER_RETENTION_DAYS", "7"), ("EXPORTER_LINKS", "redirect")];
    let service = platform.serve("redirect", "api", &settings).await;
    let status = service.status(&job.to_string()).await;
    let link = status["dataRequestDownloadLinks"]["way"][0].as_str().unwrap().to_owned();
    assert_eq!(reqwest::get(&link).await.unwrap().status(), 200);
    sqlx::raw_sql("UPDATE export_jobs SET completed_at = completed_at - interval '2 days'")
        .execute(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(run(&platform).await, Retained::default(), "somebody was let through a moment ago");
    let refused = reqwest::get(&link).await.unwrap();
    assert_eq!(refused.status(), 410);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "LINK_EXPIRED");
    let reasons: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT action, reason FROM export_download_audits WHERE job_id = $1 ORDER BY id DESC LIMIT 1")
            .bind(job)
            .fetch_all(&platform.metadata)
            .await
            .unwrap();
    assert_eq!(reasons, [("refused".to_owned(), Some("LINK_EXPIRED".to_owned()))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_shell_it_is_listed_and_done() {
    let platform = Platform::empty("retention_cli").await;
    let job = published(&platform, "COMPLETED", 8, "a").await;
    let run = async |arguments: &[&str]| {
        let mut command = platform.program(arguments);
        let done = command.env("EXPORTER_RETENTION_DAYS", "7").output().await.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let listed: Value = serde_json::from_str(&run(&["--json", "retention", "--dry-run"]).await).unwrap();
    assert_eq!((listed[0]["requestId"].as_str(), listed[0]["files"].as_i64()), (Some(&*job.to_string()), Some(2)));
    assert!(run(&["retention", "--dry-run"]).await.contains(&job.to_string()));
    assert_eq!(state(&platform, job).await.0, JobState::Completed);
    assert!(run(&["retention"]).await.contains("1 requests expired, 3 objects deleted"));
    assert_eq!(state(&platform, job).await.0, JobState::Expired);
}
