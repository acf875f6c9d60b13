//! The queue's PostgreSQL ends at once and comes back.

use std::time::Duration;

use chrono::Utc;
use rand::Rng;
use rand::rngs::StdRng;

use super::{BRISK, LENIENT, between, claim, reaped};
use crate::oracle::Oracle;
use crate::stage::{Stage, now};
use crate::store::Storm;
use crate::table::Row;

pub(crate) async fn run(stage: &mut Stage, oracle: &Oracle, random: &mut StdRng, times: usize) -> Row {
    let mut row = Row::new(format!("PostgreSQL restarted hard, {times} times"));
    stage.crew(3, &LENIENT).await;
    stage.store.order(Storm::Slow(BRISK)).await;
    let mark = stage.mark().await;
    let feed = stage.feed(4);
    let mut again = Vec::new();
    for _ in 0..times {
        tokio::time::sleep(Duration::from_millis(random.random_range(4_000..9_000))).await;
        let note = stage.mark().await.note;
        let at = now();
        stage.crash_postgres().await;
        let claimed_at = format!(
            "SELECT min(at) FROM chaos.moves WHERE id > {note} AND at > '{}' AND worker_after IS NOT NULL
             AND worker_before IS NULL",
            at.to_rfc3339()
        );
        for _ in 0..600 {
            let claimed: Option<chrono::DateTime<Utc>> = stage.one(&claimed_at).await;
            if let Some(claimed) = claimed {
                again.push(between(at, claimed));
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    feed.stop().await;
    stage.store.order(Storm::Calm).await;
    let unfinished = oracle.account(stage, mark, &mut row).await;
    row.exactly("requests that did not complete", unfinished.len(), 0);
    row.exactly("restarts after which nothing was claimed", times - again.len(), 0);
    row.times("from the crash to the next claim", again, Some(Duration::from_secs(15)));
    let (mut healthy, mut unheard) = (0, 0);
    for worker in &stage.workers {
        for (kind, item, epoch, _) in reaped(stage, worker.id, mark).await {
            // Whoever knew of a lease says that it is gone; who does not had claimed it, and the answer was lost.
            match worker.said(mark.at, &[&claim(&kind, &item, epoch)]).is_empty() {
                true => unheard += 1,
                false => healthy += 1,
            }
        }
    }
    row.note("times that all workers met a restart", times * stage.workers.len());
    row.at_most_in_time("leases taken from healthy workers", healthy, times * stage.workers.len() / 100);
    row.note("claims whose answer was lost, and which waited for their lease's end", unheard);
    row
}
