//! A table that nobody reads and lives: whoever reads it is killed, until it is given up.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;

use crate::oracle::Oracle;
use crate::stage::{Stage, TABLES, reader};
use crate::table::Row;

pub(crate) async fn run(stage: &mut Stage, oracle: &Oracle, crashes: usize) -> Row {
    let mut row = Row::new("a poison partition");
    let most = crashes.to_string();
    let settings = [("EXPORTER_MAX_CRASHES", most.as_str())];
    stage.crew(3, &settings).await;
    let mark = stage.mark().await;
    let alone = timed(stage).await;
    let poison = stage.request(&["poison"]).await;
    let other = stage.request(&TABLES).await;
    let asked = Instant::now();
    let (mut killed, mut beside) = (0, None);
    loop {
        for slot in 0..stage.workers.len() {
            if !reads(stage, slot, "true").await || (crashes == 1 && !holds_nothing_else(stage, slot).await) {
                continue;
            }
            stage.workers[slot].child.kill().await.unwrap();
            // The server would go on without its reader until it has something to say.
            reads(stage, slot, "pg_terminate_backend(pid)").await;
            killed += 1;
            stage.replace(slot, &settings).await;
        }
        let state: String = stage.one(&format!("SELECT state FROM export_jobs WHERE id = '{other}'")).await;
        if state == "COMPLETED" && beside.is_none() {
            beside = Some(asked.elapsed());
        }
        let ended: bool =
            stage.one(&format!("SELECT completed_at IS NOT NULL FROM export_jobs WHERE id = '{poison}'")).await;
        if (ended && beside.is_some()) || asked.elapsed() > Duration::from_secs(240) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let unfinished = oracle.account(stage, mark, &mut row).await;
    let code: Option<String> = stage.one(&format!("SELECT error_code FROM export_jobs WHERE id = '{poison}'")).await;
    row.saw(format!("the poison is {poison}, the request beside it {other}"));
    row.exactly("workers that it took", killed, crashes);
    row.note("how its request ended", code.as_deref().unwrap_or("not at all"));
    let as_said = unfinished.iter().all(|(job, state)| *job == poison && state == "FAILED")
        && unfinished.len() == 1
        && code.as_deref() == Some("POISON_PARTITION");
    row.exactly("requests that ended otherwise than they should", usize::from(!as_said), 0);
    let beside = beside.map_or(f64::NAN, |time| time.as_secs_f64());
    row.note("another request alone, and beside it", format!("{:.1} s, {beside:.1} s", alone.as_secs_f64()));
    row
}

/// How long a request takes when nothing is wrong.
async fn timed(stage: &Stage) -> Duration {
    let asked = Instant::now();
    stage.request(&TABLES).await;
    stage.settled(Duration::from_secs(180)).await;
    asked.elapsed()
}

/// Stops whoever works in this slot, and lets it go on if it holds anything beside the poison: what else it holds when it
/// is killed counts a crash as well, and where one is enough that would be given up, too.
async fn holds_nothing_else(stage: &Stage, slot: usize) -> bool {
    let worker = &stage.workers[slot];
    worker.signal("STOP");
    // What it has sent already arrives.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let held: i64 = stage
        .one(&format!(
            "SELECT (SELECT count(*) FROM export_jobs WHERE worker = '{id}')
                  + (SELECT count(*) FROM export_job_tables WHERE worker = '{id}')
                  + (SELECT count(*) FROM export_job_partitions WHERE worker = '{id}')",
            id = worker.id
        ))
        .await;
    if held != 1 {
        worker.signal("CONT");
    }
    held == 1
}

/// Whether whoever works in this slot reads the poison now; something may be done to its sessions.
async fn reads(stage: &Stage, slot: usize, done: &str) -> bool {
    let sql = format!(
        "SELECT {done} FROM pg_stat_activity WHERE datname = current_database() AND usename = $1
         AND state = 'active' AND query LIKE 'COPY%' AND query LIKE '%poison%'"
    );
    let found: Vec<bool> =
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(reader(slot)).fetch_all(&stage.warehouse).await.unwrap();
    !found.is_empty()
}
