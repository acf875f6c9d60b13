//! Workers killed at random moments, with whatever they hold.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use super::{BRISK, LENIENT, between, reaped};
use crate::oracle::Oracle;
use crate::stage::{Stage, now};
use crate::store::Storm;
use crate::table::Row;

pub(crate) async fn run(stage: &mut Stage, oracle: &Oracle, random: &mut StdRng, times: usize) -> Row {
    let mut row = Row::new(format!("{times} kill -9 at random moments"));
    stage.crew(3, &LENIENT).await;
    stage.store.order(Storm::Slow(BRISK)).await;
    let mark = stage.mark().await;
    let feed = stage.feed(4);
    let mut killed = Vec::new();
    for _ in 0..times {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..2_500))).await;
        let slot = random.random_range(0..stage.workers.len());
        let worker = &mut stage.workers[slot];
        worker.child.start_kill().unwrap();
        killed.push((worker.id, now()));
        let _ = worker.child.wait().await;
        stage.replace(slot, &LENIENT).await;
    }
    feed.stop().await;
    stage.store.order(Storm::Calm).await;
    let unfinished = oracle.account(stage, mark, &mut row).await;
    row.exactly("requests that did not complete", unfinished.len(), 0);
    let (mut noticed, mut busy, mut redone, mut most) = (Vec::new(), 0, 0, 0);
    for (worker, at) in killed {
        let taken = reaped(stage, worker, mark).await;
        let partitions = taken.iter().filter(|(kind, ..)| kind == "partitions").count();
        if partitions > 1 {
            row.saw(format!("worker {worker} was killed at {at}, and this was taken from it: {taken:?}"));
        }
        busy += usize::from(!taken.is_empty());
        redone += partitions;
        most = most.max(partitions);
        noticed.extend(taken.into_iter().map(|(_, _, _, reaped)| between(at, reaped)));
    }
    row.note("kills that met work", busy);
    row.times("dead worker noticed", noticed, Some(Duration::from_secs(10)));
    row.note("partitions redone", redone);
    row.at_most("most partitions redone by one kill", most, 1);
    row
}
