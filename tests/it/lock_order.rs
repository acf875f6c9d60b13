//! Who waits for several partitions at once waits for them in one order, so that nobody waits in a circle.

use std::time::{Duration, Instant};

use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::{PartitionTask, Queue, QueueError, Requests, Retry, TableState, Tenant};
use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgPool};
use tokio::task::JoinHandle;

use crate::support::cluster;
use crate::support::queue::{plan, ready, staged, submit};

/// Three partitions of one table that run, in the order of their ids, among so many of another that wait.
async fn running(pool: &PgPool, queue: &Queue, others: usize) -> Vec<PartitionTask> {
    submit(pool, "default").await;
    plan(queue, &[("way", 3), ("vms", others)]).await;
    // Claimed by id, so that a server that takes them as they lie takes them by id, too.
    let prepared = "UPDATE export_job_partitions SET fair_key = id;
        UPDATE export_job_partitions SET due_at = due_at + interval '1 h' WHERE table_name = 'vms';
        ANALYZE";
    for statement in prepared.split(';') {
        sqlx::raw_sql(statement).execute(pool).await.unwrap();
    }
    let mut tasks = Vec::new();
    while let Some(task) = queue.claim_partition().await.unwrap() {
        tasks.push(task);
    }
    assert!(tasks.len() == 3 && tasks.is_sorted_by_key(|task| task.id));
    tasks
}

/// Somebody who has locked this partition until it is closed.
async fn holder(database: &str, partition: i64) -> PgConnection {
    let mut connection = PgConnection::connect(&cluster::url(database)).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut connection).await.unwrap();
    sqlx::query("SELECT 1 FROM export_job_partitions WHERE id = $1 FOR UPDATE")
        .bind(partition)
        .execute(&mut connection)
        .await
        .unwrap();
    connection
}

/// Waits until so many sessions of this database wait for a lock.
async fn until_waiting(pool: &PgPool, sessions: i64) {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        if waiting == sessions {
            return;
        }
        assert!(Instant::now() < deadline, "{waiting} sessions wait for a lock, not {sessions}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn fail(queue: &Queue, task: &PartitionTask) -> JoinHandle<Result<(), QueueError>> {
    let (queue, task) = (queue.clone(), task.clone());
    tokio::spawn(async move {
        queue.fail_partition(&task, &Failure::new(ErrorCode::Internal, "it is broken"), Retry::Never).await
    })
}

async fn assert_failed(pool: &PgPool, job: data_exporter::jobs::JobId) {
    let view = Requests::new(pool.clone()).find(&Tenant::default(), job).await.unwrap().unwrap();
    let way = view.tables.iter().find(|table| table.name.to_string() == "way").unwrap();
    assert_eq!(way.state, TableState::Failed);
    let open: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM export_job_partitions WHERE table_name = 'way' AND state IN ('PENDING', 'RUNNING')",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(open, 0);
}

#[tokio::test]
async fn partitions_of_one_table_that_fail_for_good_at_once_end_it_once() {
    let (pool, queue) = ready("lock_order_failures").await;
    let tasks = running(&pool, &queue, 1).await;
    let held = holder("lock_order_failures", tasks[1].id).await;
    let first = fail(&queue, &tasks[0]);
    until_waiting(&pool, 1).await;
    let last = fail(&queue, &tasks[2]);
    until_waiting(&pool, 2).await;
    held.close().await.unwrap();
    first.await.unwrap().unwrap();
    let second = last.await.unwrap();
    assert!(matches!(second, Err(QueueError::LeaseLost(_))), "the table has ended: {second:?}");
    assert_failed(&pool, tasks[0].job).await;
}

#[tokio::test]
async fn a_heartbeat_does_not_meet_the_end_of_a_table_crosswise() {
    let (pool, queue) = ready("lock_order_heartbeat").await;
    let tasks = running(&pool, &queue, 2_000).await;
    // Leases that run are found by their end: here in the order against that of the ids.
    let turned =
        "UPDATE export_job_partitions SET lease_until = lease_until - id * interval '1 s' WHERE state = 'RUNNING'";
    sqlx::raw_sql(turned).execute(&pool).await.unwrap();
    let held = holder("lock_order_heartbeat", tasks[1].id).await;
    let ending = fail(&queue, &tasks[0]);
    until_waiting(&pool, 1).await;
    let beating = tokio::spawn({
        let (pool, leases) = (pool.clone(), [tasks[2].clone(), tasks[0].clone()]);
        async move {
            sqlx::query(include_str!("../../src/jobs/sql/heartbeat_partitions.sql"))
                .bind(leases.iter().map(|task| task.id).collect::<Vec<_>>())
                .bind(leases.iter().map(|task| task.epoch).collect::<Vec<_>>())
                .bind(vec![1_i64, 1])
                .bind(6.0_f64)
                .bind(vec![1_i64, 1])
                .fetch_all(&pool)
                .await
        }
    });
    until_waiting(&pool, 2).await;
    held.close().await.unwrap();
    ending.await.unwrap().unwrap();
    let renewed = beating.await.unwrap().unwrap();
    assert!(renewed.is_empty(), "both leases are lost with the table");
    assert_failed(&pool, tasks[0].job).await;
}

/// Who ends a job takes its tables by name; a heartbeat that is told of them in another order does so, too.
#[tokio::test]
async fn a_heartbeat_takes_tables_in_the_order_of_those_who_end_them() {
    let (pool, queue) = ready("lock_order_tables").await;
    submit(&pool, "default").await;
    plan(&queue, &[("cctv", 1), ("way", 1)]).await;
    for name in ["a", "b"] {
        let task = queue.claim_partition().await.unwrap().unwrap();
        queue.complete_partition(&task, staged(name)).await.unwrap();
    }
    let mut tasks = [queue.claim_table().await.unwrap().unwrap(), queue.claim_table().await.unwrap().unwrap()];
    tasks.sort_by_key(|task| std::cmp::Reverse(task.table.to_string()));
    let mut held = PgConnection::connect(&cluster::url("lock_order_tables")).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT 1 FROM export_job_tables WHERE table_name = 'cctv' FOR UPDATE")
        .execute(&mut held)
        .await
        .unwrap();
    let beating = tokio::spawn({
        let (pool, tasks) = (pool.clone(), tasks.clone());
        async move {
            sqlx::query(include_str!("../../src/jobs/sql/heartbeat_tables.sql"))
                .bind(tasks.iter().map(|task| task.job.0).collect::<Vec<_>>())
                .bind(tasks.iter().map(|task| task.table.to_string()).collect::<Vec<_>>())
                .bind(tasks.iter().map(|task| task.epoch).collect::<Vec<_>>())
                .bind(6.0_f64)
                .bind(vec![1_i64, 1])
                .fetch_all(&pool)
                .await
        }
    });
    until_waiting(&pool, 1).await;
    // Whoever has the first may take the second without waiting.
    let second = "SELECT 1 FROM export_job_tables WHERE table_name = 'way' FOR UPDATE NOWAIT";
    sqlx::raw_sql(second).execute(&mut held).await.unwrap();
    held.close().await.unwrap();
    assert_eq!(beating.await.unwrap().unwrap().len(), 2);
}
