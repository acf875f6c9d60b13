//! An object store that is busy, forgets to answer, answers errors, or is slow.

use std::time::Duration;

use super::LENIENT;
use crate::oracle::Oracle;
use crate::stage::Stage;
use crate::store::Storm;
use crate::table::Row;

/// What a worker may have in memory at most, in MiB.
const MEMORY: usize = 128;

pub(crate) async fn run(stage: &mut Stage, oracle: &Oracle, each: Duration) -> Row {
    let mut row =
        Row::new(format!("S3: 50 % 503, 64 KB/s, lost answers, errors in the body, {} s each", each.as_secs()));
    stage.crew(3, &LENIENT).await;
    let mark = stage.mark().await;
    let feed = stage.feed(4);
    for storm in [Storm::Busy, Storm::LostAnswers, Storm::ErrorBodies, Storm::ErrorBodiesAfter, Storm::Slow(64 << 10)] {
        stage.store.order(storm).await;
        tokio::time::sleep(each).await;
    }
    feed.stop().await;
    stage.store.order(Storm::Calm).await;
    let unfinished = oracle.account(stage, mark, &mut row).await;
    row.exactly("requests that did not complete", unfinished.len(), 0);
    let missed = ["heartbeat failed", "heartbeat was not answered", "is given up"];
    let missed: usize = stage.workers.iter().map(|worker| worker.said(mark.at, &missed).len()).sum();
    row.at_most_in_time("heartbeats missed", missed, 0);
    let peak = stage.workers.iter().map(|worker| worker.peak_mib()).max().unwrap_or(0);
    row.at_most_in_time("peak memory of a worker, MiB", usize::try_from(peak).unwrap(), MEMORY);
    let tries: i64 = stage
        .one(&format!(
            "SELECT count(*) FROM chaos.moves WHERE id > {} AND before = 'RUNNING' AND after = 'PENDING'
             AND crashes_after = crashes_before",
            mark.note
        ))
        .await;
    row.note("partitions tried again", tries);
    row
}
