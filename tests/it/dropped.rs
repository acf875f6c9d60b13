//! A future that is dropped in the middle leaves nothing behind on the connection that it used: no open transaction that
//! whoever comes next writes into, to be lost with it.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::{Queue, Requests, Retry, Tenant, stalled};
use futures::future::{BoxFuture, poll_fn};
use sqlx::postgres::{PgPool, PgPoolOptions};

use crate::support::cluster;
use crate::support::queue::{plan, ready, settings, submit};

/// A future is asked to go on so many times at most before it is dropped; all of those here have ended by then.
const MOST: usize = 60;

/// Lets `future` go on `times` times, whenever something has happened, and drops it. Whether it ended before that.
async fn dropped_after<T>(times: usize, future: impl Future<Output = T>) -> bool {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        let ended = future.as_mut().poll(context).is_ready();
        if ended || left == 0 { Poll::Ready(ended) } else { Poll::Pending }
    })
    .await
}

/// Drops what `work` returns at each of its steps, and looks after each whether what is then written over the same
/// connection is seen over another.
async fn leaves_nothing_open<'a>(one: &'a PgPool, others: &PgPool, work: impl Fn() -> BoxFuture<'a, ()>) {
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS written (at INT NOT NULL)").execute(others).await.unwrap();
    sqlx::raw_sql("TRUNCATE written").execute(others).await.unwrap();
    let (mut dropped, mut times, mut at_once) = (0, 1, 0);
    while times <= MOST && at_once < 100 {
        if dropped_after(times, work()).await {
            if dropped > 0 {
                break;
            }
            // A single answer may come while the future goes on: then it had no middle, and is tried again.
            at_once += 1;
            continue;
        }
        dropped += 1;
        sqlx::query("INSERT INTO written VALUES ($1)").bind(dropped).execute(one).await.unwrap();
        let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM written").fetch_one(others).await.unwrap();
        assert_eq!(seen, i64::from(dropped), "dropped after {times} steps, and what came next is in its transaction");
        times += 1;
    }
    assert!((1..MOST).contains(&(dropped as usize)), "dropped {dropped} times in the middle");
}

// On one thread: what others do for a future is not done while it goes on, so that each step really is one.
#[tokio::test]
async fn whoever_is_dropped_leaves_no_transaction_open() {
    let (others, queue) = ready("dropped").await;
    let one = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(20))
        .connect(&cluster::url("dropped"))
        .await
        .unwrap();
    let job = submit(&others, "default").await;
    plan(&queue, &[("way", 1)]).await;
    let task = queue.claim_partition().await.unwrap().unwrap();

    let requests = Requests::new(one.clone());
    let tenant = Tenant::default();
    let mine = Queue::new(one.clone(), settings());
    let failure = Failure::new(ErrorCode::WarehouseUnavailable, "away");
    // What the API drops when a client goes away, and what a worker drops when its partition is taken from it.
    leaves_nothing_open(&one, &others, || Box::pin(async { drop(stalled::begin(&one).await) })).await;
    leaves_nothing_open(&one, &others, || {
        Box::pin(async { drop(mine.fail_partition(&task, &failure, Retry::After(Duration::ZERO)).await) })
    })
    .await;
    leaves_nothing_open(&one, &others, || Box::pin(async { drop(requests.cancel(&tenant, job, "somebody").await) }))
        .await;
}
