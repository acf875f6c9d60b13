//! What ended long ago is archived, and is answered for as before; what still keeps a promise stays where it is.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use data_exporter::error::ErrorCode;
use data_exporter::jobs::{JobId, NewRequest, Queue, Requests, Tenant};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use uuid::Uuid;

use crate::support::metadata;
use crate::support::queue::{ready, request, settings};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

async fn run(pool: &PgPool, sql: String) -> u64 {
    sqlx::query(AssertSqlSafe(sql)).execute(pool).await.unwrap().rows_affected()
}

/// A job that ended so many days ago, with two tables, of which nothing is left in the bucket.
async fn old(pool: &PgPool, state: &str, days: i64) -> Uuid {
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await.unwrap();
    let job = metadata::job(pool, "default", state, now - TimeDelta::days(days)).await;
    let done = if state == "EXPIRED" { "COMPLETED" } else { "FAILED" };
    metadata::table(pool, job, "cctv", "SKIPPED", &[]).await;
    metadata::table(pool, job, "way", done, &[("k", 10, 100)]).await;
    run(pool, format!("UPDATE export_jobs SET purged_at = completed_at + interval '7 days' WHERE id = '{job}'")).await;
    run(pool, format!("UPDATE export_job_tables SET purged_at = clock_timestamp() WHERE job_id = '{job}'")).await;
    let reserve =
        format!("INSERT INTO export_directories (directory, job_id, table_name) VALUES ('{job}/way', '{job}', 'way')");
    run(pool, reserve).await;
    job
}

async fn archive(pool: &PgPool) -> usize {
    let queue = Queue::new(pool.clone(), settings());
    let mut archived = 0;
    loop {
        match queue.archive(YEAR).await.unwrap() {
            0 => return archived,
            some => archived += some,
        }
    }
}

/// Everything that is said of a job, but when it was read.
async fn told(pool: &PgPool, job: Uuid) -> String {
    let requests = Requests::new(pool.clone());
    let mut view = requests.find(&Tenant::default(), JobId(job)).await.unwrap().expect("it is known");
    view.read_at = DateTime::<Utc>::MIN_UTC;
    format!("{view:?}")
}

#[tokio::test]
async fn only_what_keeps_no_promise_is_archived_and_it_is_answered_for_as_before() {
    let (pool, _) = ready("history_cases").await;
    let mut archived = Vec::new();
    for state in ["EXPIRED", "FAILED", "CANCELLED"] {
        archived.push(old(&pool, state, 400).await);
    }
    let mut stays = vec![old(&pool, "EXPIRED", 300).await];
    for change in [
        "UPDATE export_jobs SET purged_at = NULL WHERE id = '{}'",
        "UPDATE export_jobs SET kind = 'scheduled' WHERE id = '{}'",
        "UPDATE export_job_tables SET purged_at = NULL WHERE job_id = '{}'",
        "INSERT INTO export_staged_objects (staging_key, job_id, partition_id, lease_epoch) VALUES ('left', '{}', 1, 1)",
        "INSERT INTO export_link_grants (id, job_id, tenant, subject, kind, expires_at)
         VALUES (gen_random_uuid(), '{}', 'default', 's', 'presigned', clock_timestamp() + interval '1 hour')",
        "UPDATE export_jobs SET state = 'COMPLETED' WHERE id = '{}'",
    ] {
        let job = old(&pool, "EXPIRED", 400).await;
        assert!(run(&pool, change.replace("{}", &job.to_string())).await > 0, "{change}");
        stays.push(job);
    }
    let unpublished = old(&pool, "FAILED", 400).await;
    run(&pool, format!("UPDATE export_job_tables SET publication = '[]' WHERE job_id = '{unpublished}'")).await;
    stays.push(unpublished);

    let mut before = Vec::new();
    for job in archived.iter().chain(&stays) {
        before.push(told(&pool, *job).await);
    }
    assert_eq!(archive(&pool).await, archived.len());
    for (job, before) in archived.iter().chain(&stays).zip(before) {
        assert_eq!(told(&pool, *job).await, before);
    }
    let left: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM export_jobs").fetch_all(&pool).await.unwrap();
    assert_eq!(left.len(), stays.len(), "{left:?}");
    assert!(left.iter().all(|job| stays.contains(job)));
    let foreign = Requests::new(pool.clone()).find(&Tenant::new("other"), JobId(archived[0])).await.unwrap();
    assert!(foreign.is_none(), "another tenant's is unknown, in the archive, too");

    // A directory is never used twice, whatever became of the first job.
    let reserved: i64 = sqlx::query_scalar("SELECT count(*) FROM export_directories").fetch_one(&pool).await.unwrap();
    assert_eq!(reserved as usize, archived.len() + stays.len());
    for table in ["export_job_tables", "export_job_partitions", "export_staged_objects", "export_link_grants"] {
        let sql =
            format!("SELECT count(*) FROM {table} WHERE NOT EXISTS (SELECT 1 FROM export_jobs WHERE id = job_id)");
        let orphans: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&pool).await.unwrap();
        assert_eq!(orphans, 0, "{table}");
    }
}

#[tokio::test]
async fn an_idempotency_key_means_the_same_request_for_ever() {
    let (pool, _) = ready("history_keys").await;
    let requests = Requests::new(pool.clone()).joining(Duration::from_secs(300));
    let keyed = |key: &str| NewRequest { idempotency_key: Some(key.to_owned()), ..request("default") };
    let job = requests.submit(&keyed("own")).await.unwrap();
    assert_eq!(requests.submit(&keyed("joined")).await.unwrap(), job);
    let ended = "UPDATE export_jobs SET state = 'CANCELLED', place = NULL, purged_at = clock_timestamp(),
                     completed_at = clock_timestamp() - interval '2 years'";
    sqlx::raw_sql(ended).execute(&pool).await.unwrap();
    assert_eq!(archive(&pool).await, 1);
    for key in ["own", "joined"] {
        assert_eq!(requests.submit(&keyed(key)).await.unwrap(), job, "{key}");
        let other = NewRequest { start: keyed(key).start + 1, ..keyed(key) };
        assert_eq!(requests.submit(&other).await.unwrap_err().code, ErrorCode::IdempotencyKeyReused);
    }
    assert_ne!(requests.submit(&request("default")).await.unwrap(), job);
}

/// Any number of replicas at once, and each job is archived once.
#[tokio::test]
async fn replicas_share_the_work() {
    let (pool, _) = ready("history_replicas").await;
    sqlx::raw_sql(AssertSqlSafe(include_str!("support/old_jobs.sql").replace(":jobs", "1500")))
        .execute(&pool)
        .await
        .unwrap();
    let known: i64 = sqlx::query_scalar("SELECT count(*) FROM export_archived_jobs").fetch_one(&pool).await.unwrap();
    let history = Duration::from_secs(86_400);
    let queue = Queue::new(pool.clone(), settings());
    let work = || async {
        let mut archived = 0;
        // None may be left to this one while others hold them.
        for _ in 0..20 {
            archived += queue.archive(history).await.unwrap();
        }
        archived
    };
    let (one, two, three) = tokio::join!(work(), work(), work());
    // What was held by others each time that somebody looked.
    assert_eq!(one + two + three + work().await, 1500);
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM export_archived_jobs").fetch_one(&pool).await.unwrap();
    assert_eq!(kept - known, 1500);
    assert_eq!(Requests::new(pool.clone()).to_archive(history).await.unwrap(), 0);
}
