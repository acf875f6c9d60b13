//! What reading from standbys asks of the queue, by hand: pausing a job, and cutting a partition.

use std::time::Duration;

use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::{Claim, JobId, JobState, PartitionTask, Queue, QueueError, Requests, Tenant};
use serde_json::{Value, json};
use sqlx::postgres::PgPool;

use crate::support::queue::{let_leases_run_out, plan, ready, staged, submit, view};

fn why(code: ErrorCode) -> Failure {
    Failure::new(code, "the standby is far behind")
}

fn is_lost<T: std::fmt::Debug>(result: Result<T, QueueError>) {
    assert!(matches!(result, Err(QueueError::LeaseLost(_))), "{result:?}");
}

async fn claim(queue: &Queue) -> PartitionTask {
    queue.claim_partition().await.unwrap().expect("a partition is due")
}

fn pieces(count: i32) -> Vec<Value> {
    (0..count).map(|piece| json!({ "piece": piece })).collect()
}

/// Lets what is paused and what waits be claimed now.
async fn let_pauses_end(pool: &PgPool) {
    let sql = "UPDATE export_jobs SET paused_until = clock_timestamp() WHERE paused_until IS NOT NULL;
        UPDATE export_job_partitions SET due_at = clock_timestamp()";
    for statement in sql.split(';') {
        sqlx::raw_sql(statement).execute(pool).await.unwrap();
    }
}

#[tokio::test]
async fn a_paused_job_is_left_alone_says_why_and_counts_nothing() {
    let (pool, queue) = ready("standby_pause").await;
    let job = submit(&pool, "default").await;
    let task = queue.claim_plan().await.unwrap().unwrap();
    let planning = Claim::Plan(task.job, task.epoch);
    let behind = why(ErrorCode::ReplicaBehind);
    queue.pause(&planning, Duration::from_secs(600), &behind).await.unwrap();
    is_lost(queue.pause(&planning, Duration::from_secs(600), &behind).await);
    let waiting = view(&pool, job).await;
    let pause = waiting.pause.unwrap();
    assert_eq!((waiting.state, pause.why.code.as_str()), (JobState::Planning, "REPLICA_BEHIND"));
    assert_eq!(pause.why.message, behind.message);
    assert!(queue.claim_plan().await.unwrap().is_none());
    let_pauses_end(&pool).await;
    assert!(view(&pool, job).await.pause.is_none(), "a pause that is over is not told");

    // The planner takes it up again, and then a worker finds the standby behind.
    assert_eq!(plan(&queue, &[("way", 3)]).await.attempt, 1);
    let (first, second) = (claim(&queue).await, claim(&queue).await);
    queue.pause(&Claim::Partition(first.id, first.epoch), Duration::from_secs(600), &behind).await.unwrap();
    assert!(view(&pool, job).await.pause.is_some());
    assert!(queue.claim_partition().await.unwrap().is_none(), "nothing of it begins");
    is_lost(queue.complete_partition(&first, staged("late")).await);
    queue.complete_partition(&second, staged("running")).await.unwrap();
    // Another tenant's job is not held up.
    submit(&pool, "other").await;
    plan(&queue, &[("cctv", 1)]).await;
    assert_eq!(claim(&queue).await.table.to_string(), "cctv");
    assert!(queue.claim_partition().await.unwrap().is_none());

    let_pauses_end(&pool).await;
    let again = claim(&queue).await;
    assert_eq!((again.id, again.attempt), (first.id, 1));
    assert!(again.epoch > first.epoch);
    let told: i32 = sqlx::query_scalar("SELECT attempts FROM table_export_job_statuses WHERE table_name = 'way'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(told, 2, "those that ran");
}

#[tokio::test]
async fn a_paused_job_is_cancelled_like_any_other() {
    let (pool, queue) = ready("standby_pause_cancel").await;
    let requests = Requests::new(pool.clone());
    for partitions in [0, 1] {
        let job = submit(&pool, "default").await;
        let claim = if partitions == 0 {
            let task = queue.claim_plan().await.unwrap().unwrap();
            Claim::Plan(task.job, task.epoch)
        } else {
            plan(&queue, &[("way", 2)]).await;
            let task = claim(&queue).await;
            Claim::Partition(task.id, task.epoch)
        };
        queue.pause(&claim, Duration::from_secs(600), &why(ErrorCode::ReplicaBehind)).await.unwrap();
        let ended = requests.cancel(&Tenant::default(), job, "somebody").await.unwrap().unwrap();
        assert_eq!(ended.state, JobState::Cancelled, "{partitions}");
        assert!(ended.pause.is_none());
    }
}

/// Ordinals with the pieces that they are, weights, rows seen, attempts and conflicts, in the order of files.
async fn parts(pool: &PgPool, job: JobId) -> Vec<(i32, Value, f64, i64, i32, i32)> {
    sqlx::query_as(
        "SELECT ordinal, scan, weight, rows_seen, attempts, conflicts FROM export_job_partitions
         WHERE job_id = $1 ORDER BY ordinal",
    )
    .bind(job.0)
    .fetch_all(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_partition_is_cut_in_its_place_and_no_progress_is_lost() {
    let (pool, queue) = ready("standby_cut").await;
    let job = submit(&pool, "default").await;
    plan(&queue, &[("way", 3)]).await;
    let tasks = [claim(&queue).await, claim(&queue).await, claim(&queue).await];
    queue.complete_partition(&tasks[2], staged("last")).await.unwrap();
    // Seven of its ten rows were seen, which no four pieces share evenly.
    sqlx::query("UPDATE export_job_partitions SET rows_seen = 7 WHERE id = $1")
        .bind(tasks[1].id)
        .execute(&pool)
        .await
        .unwrap();
    let before = view(&pool, job).await.progress;
    let conflict = why(ErrorCode::RecoveryConflict);
    queue.cut_partition(&tasks[1], pieces(4), Duration::ZERO, &conflict).await.unwrap();
    assert!(view(&pool, job).await.progress >= before);
    is_lost(queue.cut_partition(&tasks[1], pieces(4), Duration::ZERO, &conflict).await);
    is_lost(queue.complete_partition(&tasks[1], staged("late")).await);

    let cut = parts(&pool, job).await;
    assert_eq!(cut.iter().map(|part| part.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    for (place, part) in cut[1..5].iter().enumerate() {
        assert_eq!((&part.1, part.2, part.3, part.4, part.5), (&json!({"piece": place}), 2.5, 2, 0, 1), "{place}");
    }
    assert_eq!((&cut[0].1, &cut[5].1), (&json!({}), &json!({})));
    // One that runs meanwhile commits as it would have, and the cut ones are claimed in their order.
    queue.complete_partition(&tasks[0], staged("first")).await.unwrap();
    let mut done = Vec::new();
    while let Some(task) = queue.claim_partition().await.unwrap() {
        assert_eq!((task.attempt, task.conflicts, task.partitions), (1, 1, 6));
        queue.complete_partition(&task, staged(&format!("piece {}", task.ordinal))).await.unwrap();
        done.push(task.ordinal);
        assert!(view(&pool, job).await.progress >= before);
    }
    assert_eq!(done, [1, 2, 3, 4]);
    let table = queue.claim_table().await.unwrap().expect("all of it is staged");
    let keys: Vec<_> = table.staged.iter().map(|staged| staged.staging_key.as_str()).collect();
    assert_eq!(keys, ["first", "piece 1", "piece 2", "piece 3", "piece 4", "last"]);
    let told: i32 =
        sqlx::query_scalar("SELECT attempts FROM table_export_job_statuses").fetch_one(&pool).await.unwrap();
    assert_eq!(told, 6);
}

#[tokio::test]
async fn a_cut_is_refused_to_whoever_lost_the_lease_and_in_a_job_that_ends() {
    let (pool, queue) = ready("standby_cut_fence").await;
    let job = submit(&pool, "default").await;
    plan(&queue, &[("way", 2)]).await;
    let conflict = why(ErrorCode::RecoveryConflict);
    // Frozen for longer than its lease; another worker has the partition.
    let frozen = claim(&queue).await;
    let_leases_run_out(&pool).await;
    queue.reap().await.unwrap();
    is_lost(queue.cut_partition(&frozen, pieces(2), Duration::ZERO, &conflict).await);
    let other = Queue::new(pool.clone(), *queue.settings());
    let running = claim(&other).await;
    assert_eq!(running.id, frozen.id);
    is_lost(queue.cut_partition(&frozen, pieces(2), Duration::ZERO, &conflict).await);
    assert_eq!(parts(&pool, job).await.len(), 2);

    // A single piece is the partition as it was, later.
    other.cut_partition(&running, vec![running.scan.clone()], Duration::from_secs(600), &conflict).await.unwrap();
    assert_eq!(parts(&pool, job).await.iter().map(|part| part.5).collect::<Vec<_>>(), [1, 0]);
    let second = claim(&other).await;
    assert_ne!(second.id, running.id, "it waits");

    Requests::new(pool.clone()).cancel(&Tenant::default(), job, "somebody").await.unwrap().unwrap();
    is_lost(other.cut_partition(&second, pieces(4), Duration::ZERO, &conflict).await);
    assert_eq!(parts(&pool, job).await.len(), 2, "nothing is added to what ends");
}

/// Everybody cuts and commits at once: places stay whole, and each piece is committed once.
#[tokio::test(flavor = "multi_thread")]
async fn many_cuts_at_once_leave_no_gap() {
    let (pool, queue) = ready("standby_cut_race").await;
    let job = submit(&pool, "default").await;
    plan(&queue, &[("way", 6)]).await;
    let workers = (0..6).map(|worker| {
        let queue = Queue::new(pool.clone(), *queue.settings());
        tokio::spawn(async move {
            while let Some(task) = queue.claim_partition().await.unwrap() {
                if task.conflicts < 2 && (task.id + worker) % 2 == 0 {
                    let conflict = why(ErrorCode::RecoveryConflict);
                    queue.cut_partition(&task, pieces(2), Duration::ZERO, &conflict).await.unwrap();
                } else {
                    let key = format!("{}-{}", task.id, task.epoch);
                    queue.complete_partition(&task, staged(&key)).await.unwrap();
                }
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    // A worker may have found nothing due for a moment.
    while let Some(task) = queue.claim_partition().await.unwrap() {
        queue.complete_partition(&task, staged(&format!("{}-{}", task.id, task.epoch))).await.unwrap();
    }
    let parts = parts(&pool, job).await;
    assert!(parts.iter().map(|part| part.0).eq(0..i32::try_from(parts.len()).unwrap()), "{parts:?}");
    assert_eq!(parts.iter().map(|part| part.2).sum::<f64>(), 60.0);
    assert!(queue.claim_table().await.unwrap().is_some(), "all of it is staged");
}
