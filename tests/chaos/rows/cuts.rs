//! One worker loses the queue's database for a while: silence, delay, or connections that end.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::Rng;
use rand::rngs::StdRng;

use super::{BRISK, LENIENT, between, reaped};
use crate::line::Mode;
use crate::oracle::Oracle;
use crate::stage::Stage;
use crate::store::Storm;
use crate::table::Row;
use crate::worker::Worker;

pub(crate) async fn run(stage: &mut Stage, oracle: &Oracle, random: &mut StdRng, seconds: &[u64]) -> Row {
    let listed = seconds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let mut row = Row::new(format!("database cut off from two workers of three for {listed} s"));
    stage.crew(3, &LENIENT).await;
    stage.store.order(Storm::Slow(BRISK)).await;
    let mark = stage.mark().await;
    let feed = stage.feed(4);
    for &seconds in seconds {
        tokio::time::sleep(Duration::from_millis(random.random_range(1_000..3_000))).await;
        let silent = random.random_range(0..stage.workers.len());
        let other = (silent + 1) % stage.workers.len();
        let late = Mode::Late(Duration::from_millis(random.random_range(200..1_500)));
        stage.workers[silent].line.set(Mode::Silent);
        stage.workers[other].line.set(if random.random() { Mode::Cut } else { late });
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stage.workers.iter().for_each(|worker| worker.line.set(Mode::Open));
    }
    feed.stop().await;
    stage.store.order(Storm::Calm).await;
    let unfinished = oracle.account(stage, mark, &mut row).await;
    row.exactly("requests that did not complete", unfinished.len(), 0);
    let (mut margins, mut overtaken, mut late) = (Vec::new(), 0, 0);
    for worker in &stage.workers {
        let given_up = given_up(worker, mark.at);
        for (kind, item, epoch, at) in reaped(stage, worker.id, mark).await {
            overtaken += 1;
            if kind != "partitions" {
                continue;
            }
            let stopped = given_up.get(&(item.clone(), epoch));
            match stopped {
                Some(stopped) if *stopped <= at => margins.push(between(*stopped, at)),
                Some(stopped) => {
                    late += 1;
                    row.saw(format!("partition {item} (epoch {epoch}) was taken at {at} and given up at {stopped}"));
                }
                // It had let go by itself before that.
                None => {}
            }
        }
    }
    row.note("leases that others took over", overtaken);
    row.exactly("leases given up only after they were taken", late, 0);
    row.times("given up before they were taken", margins, None);
    row
}

/// When a worker gave up a partition at an epoch because it could not renew it.
fn given_up(worker: &Worker, since: DateTime<Utc>) -> HashMap<(String, i64), DateTime<Utc>> {
    let said = worker.said(since, &["is given up claim=partition"]);
    let parsed = said.into_iter().filter_map(|(at, line)| {
        let (item, rest) = line.split_once("claim=partition ")?.1.split_once(" (epoch ")?;
        Some(((item.to_owned(), rest.split(')').next()?.parse().ok()?), at))
    });
    parsed.collect()
}
