//! Workers that are stopped until their leases have run out, and then go on as if nothing had been.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use super::{BRISK, LENIENT, reaped};
use crate::oracle::Oracle;
use crate::stage::Stage;
use crate::store::Storm;
use crate::table::Row;

pub(crate) async fn run(stage: &mut Stage, oracle: &Oracle, random: &mut StdRng, times: usize) -> Row {
    let mut row = Row::new(format!("{times} workers frozen past their lease, then continued"));
    stage.crew(4, &LENIENT).await;
    stage.store.order(Storm::Slow(BRISK)).await;
    let mark = stage.mark().await;
    let feed = stage.feed(4);
    let mut done = 0;
    while done < times {
        tokio::time::sleep(Duration::from_millis(random.random_range(200..1_500))).await;
        // Some at once, and never all: somebody must take over.
        let first = random.random_range(0..stage.workers.len());
        let frozen: Vec<usize> = (0..3.min(times - done)).map(|next| (first + next) % stage.workers.len()).collect();
        for slot in &frozen {
            let id = stage.workers[*slot].id;
            // Not for long: those who are frozen already may hold all that there is.
            for _ in 0..40 {
                if stage.held(id).await > 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            stage.workers[*slot].signal("STOP");
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(6_200..9_500))).await;
        for slot in &frozen {
            stage.workers[*slot].signal("CONT");
        }
        done += frozen.len();
    }
    feed.stop().await;
    stage.store.order(Storm::Calm).await;
    let unfinished = oracle.account(stage, mark, &mut row).await;
    row.exactly("requests that did not complete", unfinished.len(), 0);
    let (mut overtaken, mut stopped) = (0, 0);
    for worker in &stage.workers {
        overtaken += reaped(stage, worker.id, mark).await.len();
        stopped += worker.said(mark.at, &["lease lost", "is given up", "came too late"]).len();
    }
    row.note("leases that others took over", overtaken);
    row.note("times that workers say they were late", stopped);
    row
}
