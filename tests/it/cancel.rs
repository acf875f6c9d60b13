//! Cancelling against the real queue: in every state, and against whoever commits in the same moment.

use std::time::{Duration, Instant};

use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::{Claim, JobId, JobState, Queue, QueueError, Requests, Retry, TableState, Tenant};
use sqlx::postgres::PgPool;
use uuid::Uuid;

use crate::support::queue::{files, let_leases_run_out, plan, ready, settings, staged, submit, view};

async fn cancel(pool: &PgPool, job: JobId) -> JobState {
    let cancelled = Requests::new(pool.clone()).cancel(&Tenant::default(), job, "somebody").await.unwrap();
    cancelled.unwrap().state
}

/// Slots in use, and rows of what the outside reads: table, status, code.
async fn left(pool: &PgPool) -> (i64, Vec<(String, String, Option<String>)>) {
    let slots =
        sqlx::query_scalar("SELECT count(*) FROM export_jobs WHERE slot IS NOT NULL").fetch_one(pool).await.unwrap();
    let statuses =
        sqlx::query_as("SELECT table_name, status, error_code FROM table_export_job_statuses ORDER BY table_name")
            .fetch_all(pool)
            .await
            .unwrap();
    (slots, statuses)
}

fn row(table: &str, status: &str, code: Option<&str>) -> (String, String, Option<String>) {
    (table.to_owned(), status.to_owned(), code.map(str::to_owned))
}

fn is_lost(result: Result<(), QueueError>) {
    assert!(matches!(result, Err(QueueError::LeaseLost(_))), "{result:?}");
}

#[tokio::test]
async fn what_waits_or_is_planned_is_cancelled_at_once() {
    let (pool, queue) = ready("cancel_early").await;
    let waiting = submit(&pool, "default").await;
    assert_eq!(cancel(&pool, waiting).await, JobState::Cancelled);
    assert!(queue.claim_plan().await.unwrap().is_none(), "nobody is given it");

    let planned = submit(&pool, "default").await;
    let task = queue.claim_plan().await.unwrap().unwrap();
    assert_eq!(cancel(&pool, planned).await, JobState::Cancelled);
    assert!(matches!(queue.finish_plan(&task, 1, Vec::new()).await, Err(QueueError::LeaseLost(_))));
    is_lost(queue.fail_plan(&task, &Failure::new(ErrorCode::Internal, "late"), Retry::Never).await);
    let ended = view(&pool, planned).await;
    assert_eq!((ended.state, ended.error.unwrap().code.as_str()), (JobState::Cancelled, "CANCELLED"));
    assert_eq!(left(&pool).await, (0, Vec::new()));
}

#[tokio::test]
async fn what_runs_is_ended_when_its_workers_have_let_go() {
    let (pool, queue) = ready("cancel_running").await;
    let job = submit(&pool, "default").await;
    plan(&queue, &[("cctv", 1), ("way", 3)]).await;
    let done = queue.claim_partition().await.unwrap().unwrap();
    queue.complete_partition(&done, staged("done")).await.unwrap();
    let held = [queue.claim_partition().await.unwrap().unwrap(), queue.claim_partition().await.unwrap().unwrap()];

    assert_eq!(cancel(&pool, job).await, JobState::Cancelling);
    assert_eq!(cancel(&pool, job).await, JobState::Cancelling, "twice is once");
    assert!(queue.claim_partition().await.unwrap().is_none(), "the rest is nobody's any more");
    is_lost(queue.complete_partition(&held[0], staged("late")).await);
    assert!(queue.claim_table().await.unwrap().is_none(), "a table that was whole is not published");
    assert_eq!(left(&pool).await.0, 1, "the slot is held until the work has stopped");

    queue.abandon(&Claim::Partition(held[0].id, held[0].epoch)).await.unwrap();
    assert_eq!(view(&pool, job).await.state, JobState::Cancelling);
    queue.abandon(&Claim::Partition(held[1].id, held[1].epoch)).await.unwrap();
    let ended = view(&pool, job).await;
    assert_eq!(ended.state, JobState::Cancelled);
    assert!(ended.tables.iter().all(|table| table.error.as_ref().unwrap().code == "CANCELLED"));
    let failed = |table| row(table, "FAILED", Some("CANCELLED"));
    assert_eq!(left(&pool).await, (0, vec![failed("cctv"), failed("way")]));
    assert_eq!(cancel(&pool, job).await, JobState::Cancelled);
    is_lost(queue.complete_partition(&held[0], staged("later")).await);
}

#[tokio::test]
async fn a_worker_that_is_frozen_meanwhile_commits_nothing() {
    let (pool, frozen) = ready("cancel_frozen").await;
    let job = submit(&pool, "default").await;
    plan(&frozen, &[("cctv", 1), ("way", 1)]).await;
    let first = frozen.claim_partition().await.unwrap().unwrap();
    frozen.complete_partition(&first, staged("first")).await.unwrap();
    let table = frozen.claim_table().await.unwrap().unwrap();
    frozen.record_publication(&table, &["k".to_owned()]).await.unwrap();
    let partition = frozen.claim_partition().await.unwrap().unwrap();

    assert_eq!(cancel(&pool, job).await, JobState::Cancelling);
    // The store is asked for nothing after this: the seal comes before the manifest.
    assert!(matches!(frozen.seal(&table).await, Err(QueueError::Ending(_))));
    let_leases_run_out(&pool).await;
    let sweeper = Queue::new(pool.clone(), settings());
    sweeper.reap().await.unwrap();
    sweeper.end_jobs().await.unwrap();
    assert_eq!(view(&pool, job).await.state, JobState::Cancelled);

    is_lost(frozen.complete_partition(&partition, staged("late")).await);
    is_lost(frozen.record_attempt(&partition, "late").await);
    is_lost(frozen.seal(&table).await);
    is_lost(frozen.complete_table(&table, files(), "s3://b/m".to_owned()).await);
    is_lost(frozen.record_publication(&table, &["k".to_owned()]).await);
    for claim in [Claim::Partition(partition.id, partition.epoch), Claim::Table(job, table.table.clone(), table.epoch)]
    {
        frozen.abandon(&claim).await.unwrap();
    }
    let failed = |table| row(table, "FAILED", Some("CANCELLED"));
    assert_eq!(left(&pool).await, (0, vec![failed("cctv"), failed("way")]));
    // What it had written under final names is removed.
    let removed = sweeper.clear_unpublished(|left| {
        assert_eq!(left.keys, ["k"]);
        Box::pin(async { true })
    });
    assert_eq!(removed.await.unwrap(), 1);
    assert_eq!(sweeper.clear_unpublished(|_| Box::pin(async { true })).await.unwrap(), 0);
}

#[tokio::test]
async fn a_table_whose_manifest_may_be_written_already_is_finished_and_waited_for() {
    let (pool, queue) = ready("cancel_sealed").await;
    let job = submit(&pool, "default").await;
    plan(&queue, &[("cctv", 1), ("way", 2)]).await;
    while let Some(task) = queue.claim_partition().await.unwrap() {
        if task.table.name() == "cctv" || task.ordinal == 0 {
            queue.complete_partition(&task, staged(&format!("s{}", task.id))).await.unwrap();
        } else {
            queue.release(&Claim::Partition(task.id, task.epoch)).await.unwrap();
            break;
        }
    }
    let stale = queue.claim_table().await.unwrap().unwrap();
    queue.seal(&stale).await.unwrap();
    let cancelling = tokio::spawn({
        let pool = pool.clone();
        async move { cancel(&pool, job).await }
    });
    // It dies; another one repeats it, although the job is being cancelled.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!cancelling.is_finished(), "answered while a manifest may be written");
    let_leases_run_out(&pool).await;
    let heir = Queue::new(pool.clone(), settings());
    heir.reap().await.unwrap();
    heir.end_jobs().await.unwrap();
    let again = heir.claim_table().await.unwrap().unwrap();
    assert_eq!(again.table, stale.table);
    heir.seal(&again).await.unwrap();
    is_lost(queue.complete_table(&stale, files(), "s3://b/stale".to_owned()).await);
    heir.complete_table(&again, files(), "s3://b/m".to_owned()).await.unwrap();
    heir.end_jobs().await.unwrap();
    assert!(cancelling.await.unwrap().is_final() || view(&pool, job).await.state == JobState::Cancelled);
    let ended = view(&pool, job).await;
    let states: Vec<TableState> = ended.tables.iter().map(|table| table.state).collect();
    assert_eq!((ended.state, states), (JobState::Cancelled, vec![TableState::Completed, TableState::Failed]));
    assert_eq!(left(&pool).await, (0, vec![row("cctv", "COMPLETED", None), row("way", "FAILED", Some("CANCELLED"))]));
}

/// Cancel comes before the end or after it, never in between: either everything is published and the job is complete,
/// or what was not sealed is not published.
#[tokio::test]
async fn against_completion_one_of_both_wins() {
    const ROUNDS: u32 = 40;
    let (pool, queue) = ready("cancel_race").await;
    let mut seen = [0, 0];
    // How long it takes undisturbed; the moments of cancelling lie over twice that.
    let mut took = Duration::ZERO;
    for round in 0..=ROUNDS {
        let job = submit(&pool, "default").await;
        plan(&queue, &[("way", 1)]).await;
        let partition = queue.claim_partition().await.unwrap().unwrap();
        let since = Instant::now();
        let finishing = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if queue.complete_partition(&partition, staged(&format!("s{round}"))).await.is_err() {
                return queue.abandon(&Claim::Partition(partition.id, partition.epoch)).await.unwrap();
            }
            let Some(table) = queue.claim_table().await.unwrap() else { return };
            match queue.seal(&table).await {
                Ok(()) => queue.complete_table(&table, files(), "s3://b/m".to_owned()).await.unwrap(),
                Err(QueueError::Ending(claim)) => queue.abandon(&claim).await.unwrap(),
                Err(error) => is_lost(Err(error)),
            }
        };
        let answered = match round.checked_sub(1) {
            None => {
                finishing.await;
                took = since.elapsed();
                None
            }
            Some(moment) => {
                let cancelling = async {
                    tokio::time::sleep(took * 2 * moment / ROUNDS).await;
                    cancel(&pool, job).await
                };
                Some(tokio::join!(finishing, cancelling).1)
            }
        };
        queue.end_jobs().await.unwrap();
        let ended = view(&pool, job).await;
        match ended.state {
            JobState::Completed => seen[0] += usize::from(answered.is_some()),
            JobState::Cancelled => seen[1] += 1,
            other => panic!("round {round}: {other:?} after {answered:?}"),
        }
        let published = ended.tables[0].state == TableState::Completed;
        assert_eq!(published, ended.state == JobState::Completed, "round {round}");
        let (slots, statuses) = left(&pool).await;
        assert_eq!(slots, 0, "round {round}");
        let status = if published { row("way", "COMPLETED", None) } else { row("way", "FAILED", Some("CANCELLED")) };
        assert_eq!(statuses.iter().filter(|found| **found == status).count(), statuses.len(), "round {round}");
        sqlx::raw_sql("TRUNCATE table_export_job_statuses").execute(&pool).await.unwrap();
    }
    assert!(seen.iter().all(|times| *times > 0), "the race was never close: {seen:?}");
}

#[tokio::test]
async fn what_has_ended_stays_as_it_is_and_another_tenants_is_not_touched() {
    let (pool, queue) = ready("cancel_ended").await;
    let requests = Requests::new(pool.clone());
    let theirs = submit(&pool, "acme").await;
    assert!(requests.cancel(&Tenant::default(), theirs, "x").await.unwrap().is_none());
    assert!(requests.cancel(&Tenant::default(), JobId(Uuid::nil()), "x").await.unwrap().is_none());
    let found = requests.find(&Tenant::new("acme"), theirs).await.unwrap().unwrap();
    assert_eq!(found.state, JobState::Queued);
    queue.claim_plan().await.unwrap().unwrap();

    let completed = submit(&pool, "default").await;
    plan(&queue, &[("way", 1)]).await;
    let task = queue.claim_partition().await.unwrap().unwrap();
    queue.complete_partition(&task, staged("s")).await.unwrap();
    let table = queue.claim_table().await.unwrap().unwrap();
    queue.seal(&table).await.unwrap();
    queue.complete_table(&table, files(), "s3://b/m".to_owned()).await.unwrap();
    assert_eq!(cancel(&pool, completed).await, JobState::Completed);

    let failed = submit(&pool, "default").await;
    plan(&queue, &[("way", 1)]).await;
    let task = queue.claim_partition().await.unwrap().unwrap();
    queue.fail_partition(&task, &Failure::new(ErrorCode::GateRefused, "no"), Retry::Never).await.unwrap();
    assert_eq!(cancel(&pool, failed).await, JobState::Failed);
    assert_eq!(view(&pool, failed).await.error.unwrap().code, "GATE_REFUSED");
}
