//! Workers told to stop in the middle of an export, as a rollout or a scale-down does.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rand::Rng;
use rand::rngs::StdRng;

use super::{BRISK, between, reaped};
use crate::oracle::Oracle;
use crate::stage::Stage;
use crate::store::Storm;
use crate::table::Row;

/// There is somebody free to take over.
const ROOMY: [(&str, &str); 1] = [("EXPORTER_MAX_CONCURRENT_PARTITIONS", "4")];

pub(crate) async fn run(stage: &mut Stage, oracle: &Oracle, random: &mut StdRng, times: usize) -> Row {
    let mut row = Row::new(format!("SIGTERM in mid-export, {times} times"));
    stage.crew(3, &ROOMY).await;
    stage.store.order(Storm::Slow(BRISK / 2)).await;
    let mark = stage.mark().await;
    let feed = stage.feed(1);
    let (mut exits, mut stopped, mut unclean) = (Vec::new(), Vec::new(), 0);
    while exits.len() < times {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..800))).await;
        let slot = random.random_range(0..stage.workers.len());
        if stage.held(stage.workers[slot].id).await == 0 {
            continue;
        }
        let mut worker = stage.replace(slot, &ROOMY).await;
        worker.signal("TERM");
        let asked = Instant::now();
        let code = worker.ended(Duration::from_secs(60)).await;
        exits.push(asked.elapsed());
        if code != Some(0) {
            unclean += 1;
            row.saw(format!("{} ended with {code:?}; see {}", worker.id, worker.log.display()));
        }
        stopped.push(worker.id);
    }
    feed.stop().await;
    stage.store.order(Storm::Calm).await;
    let unfinished = oracle.account(stage, mark, &mut row).await;
    row.exactly("requests that did not complete", unfinished.len(), 0);
    row.exactly("ended otherwise than with 0", unclean, 0);
    row.times("from SIGTERM to the exit", exits, Some(Duration::from_secs(10)));
    let (mut counted, mut again, mut given_back) = (0, Vec::new(), 0);
    for worker in stopped {
        let crashes = reaped(stage, worker, mark).await;
        counted += crashes.len();
        if !crashes.is_empty() {
            row.saw(format!("taken from {worker} as from one that crashed: {crashes:?}"));
        }
        let released: Vec<(DateTime<Utc>, Option<DateTime<Utc>>, bool)> = stage
            .all(&format!(
                "SELECT gone.at, (SELECT min(taken.at) FROM chaos.moves AS taken
                                  WHERE taken.kind = gone.kind AND taken.item = gone.item AND taken.id > gone.id
                                    AND taken.worker_after IS NOT NULL),
                        gone.attempts_after < gone.attempts_before
                 FROM chaos.moves AS gone
                 WHERE gone.worker_before = '{worker}' AND gone.kind = 'partitions' AND gone.before = 'RUNNING'
                   AND gone.after = 'PENDING' AND gone.crashes_after = gone.crashes_before"
            ))
            .await;
        for (gone, taken, free) in released {
            given_back += 1;
            if !free {
                counted += 1;
                row.saw(format!("an attempt of {worker} was counted at {gone}"));
            }
            again.extend(taken.map(|taken| between(gone, taken)));
        }
    }
    row.note("partitions given back", given_back);
    row.exactly("attempts or crashes counted", counted, 0);
    row.times("from given back to taken again", again, Some(Duration::from_secs(2)));
    row
}
