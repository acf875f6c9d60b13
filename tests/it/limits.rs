//! Limits and turns, with everybody asking at once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::{Claim, JobId, NewRequest, Queue, QueueSettings, Requests, Retry};
use futures::future::join_all;
use sqlx::postgres::PgPool;

use crate::support::queue::{files, plan, ready, request, settings, staged, submit};

async fn count(pool: &PgPool, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM export_jobs WHERE {condition}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await.unwrap()
}

fn keyed(key: &str) -> NewRequest {
    NewRequest { idempotency_key: Some(key.to_owned()), ..request("default") }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_submissions_at_once_a_hundred_wait_and_three_are_active() {
    let (pool, _) = ready("limits_submissions").await;
    let requests = Requests::new(pool.clone());
    let submitted = Arc::new(AtomicBool::new(false));
    let active = tokio::spawn({
        let (pool, submitted) = (pool.clone(), Arc::clone(&submitted));
        async move {
            let workers: Vec<Queue> = (0..4).map(|_| Queue::new(pool.clone(), settings())).collect();
            let (mut most, mut after) = (0, 0);
            // While the others ask, and when all of them have been answered: of those who meet at one slot one gets it, so
            // three rounds fill three.
            loop {
                after += usize::from(submitted.load(Ordering::SeqCst));
                join_all(workers.iter().map(Queue::claim_plan)).await.into_iter().for_each(|task| drop(task.unwrap()));
                most = most.max(count(&pool, "slot IS NOT NULL").await);
                if after == 3 {
                    return most;
                }
            }
        }
    });
    let request = request("default");
    let answers = join_all((0..200).map(|_| requests.submit(&request))).await;
    submitted.store(true, Ordering::SeqCst);
    assert_eq!(active.await.unwrap(), 3);
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    let refused: HashSet<ErrorCode> = answers.iter().filter_map(|a| a.as_ref().err()).map(|f| f.code).collect();
    assert_eq!(refused, HashSet::from([ErrorCode::TooManyRequests]));
    let waiting = count(&pool, "state = 'QUEUED'").await;
    assert!(waiting <= 100 && i64::try_from(taken).unwrap() == waiting + 3, "{taken} taken, {waiting} wait");
    join_all((0..60).map(|_| requests.submit(&request))).await;
    assert_eq!(count(&pool, "state = 'QUEUED'").await, 100, "exactly as many as may wait");
    // Another tenant has places of its own, and one that is freed is given again.
    submit(&pool, "another").await;
    sqlx::raw_sql("DELETE FROM export_jobs WHERE id = (SELECT min(id::text)::uuid FROM export_jobs WHERE state = 'QUEUED' AND tenant = 'default')")
        .execute(&pool)
        .await
        .unwrap();
    requests.submit(&request).await.unwrap();
    assert_eq!(requests.submit(&request).await.unwrap_err().code, ErrorCode::TooManyRequests);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_submissions_with_one_key_are_one_request() {
    let (pool, _) = ready("limits_key").await;
    for requests in [Requests::new(pool.clone()), Requests::new(pool.clone()).joining(Duration::from_secs(300))] {
        let same = keyed("same");
        let answers = join_all((0..50).map(|_| requests.submit(&same))).await;
        let ids: BTreeSet<JobId> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(count(&pool, "true").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identical_request_joins_one_that_goes_on_and_no_other() {
    let (pool, queue) = ready("limits_join").await;
    let requests = Requests::new(pool.clone()).joining(Duration::from_secs(300));
    let answers = join_all((0..50).map(|_| async { requests.submit(&request("default")).await.unwrap() })).await;
    let first = answers[0];
    assert!(answers.iter().all(|id| *id == first), "of fifty at once one is queued");
    let job = |key: &'static str| {
        let requests = requests.clone();
        async move { requests.submit(&keyed(key)).await.unwrap() }
    };
    assert_eq!(job("a").await, first);
    assert_eq!(job("a").await, first, "its key is remembered");
    let other = NewRequest { end: request("default").end - 1, ..keyed("a") };
    assert_eq!(requests.submit(&other).await.unwrap_err().code, ErrorCode::IdempotencyKeyReused);
    assert_ne!(requests.submit(&request("another")).await.unwrap(), first, "another tenant's is another");
    assert_ne!(Requests::new(pool.clone()).submit(&request("default")).await.unwrap(), first, "off by default");
    sqlx::query("DELETE FROM export_jobs WHERE id <> $1").bind(first.0).execute(&pool).await.unwrap();

    let revision: i64 = sqlx::query_scalar("SELECT revision FROM rules_revision").fetch_one(&pool).await.unwrap();
    plan(&queue, &[("way", 1)]).await;
    let set = async |sql: &str| {
        let sql = format!("UPDATE export_jobs SET {sql} WHERE id = '{first}'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
    };
    set(&format!("rules_revision = {revision}")).await;
    assert_eq!(job("b").await, first, "it runs under the same rules");
    set(&format!("rules_revision = {}", revision - 1)).await;
    let fresh = job("c").await;
    assert_ne!(fresh, first, "the rules have changed since");
    sqlx::query("DELETE FROM export_jobs WHERE id = $1").bind(fresh.0).execute(&pool).await.unwrap();

    set(&format!("rules_revision = {revision}, progress_at = clock_timestamp() - interval '10 minutes'")).await;
    let fresh = job("d").await;
    assert_ne!(fresh, first, "it is stalled");
    sqlx::query("DELETE FROM export_jobs WHERE id = $1").bind(fresh.0).execute(&pool).await.unwrap();

    set("progress_at = clock_timestamp()").await;
    let task = queue.claim_partition().await.unwrap().unwrap();
    queue.fail_partition(&task, &Failure::new(ErrorCode::GateRefused, "no"), Retry::Never).await.unwrap();
    assert_ne!(job("e").await, first, "it has failed");
    assert_eq!(job("a").await, first, "but a key names what it named");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_together_read_over_so_many_connections_and_no_more() {
    let (pool, queue) = ready("limits_connections").await;
    submit(&pool, "default").await;
    plan(&queue, &[("way", 40)]).await;
    let limited = QueueSettings { max_warehouse_connections: 5, snapshot_max: Duration::ZERO, ..settings() };
    let workers: Vec<Queue> = (0..8).map(|_| Queue::new(pool.clone(), limited)).collect();
    let running = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM export_job_partitions WHERE state = 'RUNNING'")
            .fetch_one(&pool)
            .await
            .unwrap()
    };
    let mut held = Vec::new();
    for _ in 0..6 {
        let claimed = join_all(workers.iter().map(Queue::claim_partition)).await;
        held.extend(claimed.into_iter().filter_map(Result::unwrap));
        assert!(running().await <= 5);
    }
    assert_eq!(running().await, 5, "all of them are used");
    for (round, task) in held.into_iter().enumerate() {
        match round % 2 {
            0 => queue.release(&Claim::Partition(task.id, task.epoch)).await.unwrap(),
            _ => queue.complete_partition(&task, staged(&format!("s{}", task.id))).await.unwrap(),
        }
        assert!(queue_claims(&workers[round]).await, "one that is free is given again");
        assert_eq!(running().await, 5);
    }
    assert!(Queue::new(pool.clone(), settings()).claim_partition().await.unwrap().is_some(), "without a limit");
}

async fn queue_claims(queue: &Queue) -> bool {
    queue.claim_partition().await.unwrap().is_some()
}

/// Ten partitions of one tenant behind a thousand of another take twenty turns, not a thousand.
#[tokio::test]
async fn a_large_export_takes_no_more_than_its_turn() {
    let (pool, queue) = ready("limits_fair").await;
    submit(&pool, "large").await;
    plan(&queue, &[("way", 1_000)]).await;
    let done = async |task: data_exporter::jobs::PartitionTask| {
        queue.complete_partition(&task, staged(&format!("s{}", task.id))).await.unwrap();
        task.job
    };
    // It has been served for a while, two at a time.
    for _ in 0..30 {
        done(queue.claim_partition().await.unwrap().unwrap()).await;
    }
    let held = queue.claim_partition().await.unwrap().unwrap();
    submit(&pool, "small").await;
    let small = plan(&queue, &[("way", 10)]).await.job;
    let mut served: BTreeMap<JobId, usize> = BTreeMap::new();
    let mut turns = 0;
    while served.get(&small) != Some(&10) {
        *served.entry(done(queue.claim_partition().await.unwrap().unwrap()).await).or_default() += 1;
        turns += 1;
        assert!(turns < 100, "{served:?}");
    }
    assert!(turns <= 22, "ten of its own and about as many of the other's, not {turns}");
    done(held).await;
    let table = queue.claim_table().await.unwrap().unwrap();
    assert_eq!(table.job, small);
    queue.seal(&table).await.unwrap();
    queue.complete_table(&table, files(), "s3://b/m".to_owned()).await.unwrap();
}
