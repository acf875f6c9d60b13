//! The durable queue against the real database: who gets what, and that a lost lease changes nothing.

use std::time::{Duration, Instant};

use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::{
    Claim, Heartbeat, JobState, PlannedTable, Queue, QueueError, QueueSettings, Requests, Retry, TableFate, TableState,
    Tenant,
};
use serde_json::json;

use crate::support::cluster;
use crate::support::queue::{files, let_leases_run_out, plan, ready, settings, staged, submit};

#[tokio::test]
async fn a_job_goes_from_request_to_completed_and_frees_its_slot() {
    let (pool, queue) = ready("queue_whole").await;
    let job = submit(&pool, "default").await;
    plan(&queue, &[("cctv", 2), ("way", 1)]).await;
    for _ in 0..3 {
        let task = queue.claim_partition().await.unwrap().unwrap();
        queue.complete_partition(&task, staged(&format!("s{}", task.id))).await.unwrap();
    }
    assert!(queue.claim_partition().await.unwrap().is_none());
    let requests = Requests::new(pool.clone());
    let view = requests.find(&Tenant::default(), job).await.unwrap().unwrap();
    assert_eq!(view.state, JobState::Finalizing);
    assert!(view.progress > 99.0 && view.progress < 100.0, "not complete before it is published: {}", view.progress);
    for _ in 0..2 {
        let table = queue.claim_table().await.unwrap().unwrap();
        assert_eq!(table.staged.len(), if table.table.name() == "cctv" { 2 } else { 1 });
        queue.complete_table(&table, files(), "s3://b/m".to_owned()).await.unwrap();
    }
    let view = requests.find(&Tenant::default(), job).await.unwrap().unwrap();
    assert_eq!((view.state, view.progress), (JobState::Completed, 100.0));
    let slots: i64 =
        sqlx::query_scalar("SELECT count(*) FROM export_jobs WHERE slot IS NOT NULL").fetch_one(&pool).await.unwrap();
    assert_eq!(slots, 0);
}

#[tokio::test]
async fn whoever_lost_a_lease_changes_nothing() {
    let (pool, queue) = ready("queue_fence").await;
    submit(&pool, "default").await;
    plan(&queue, &[("way", 1)]).await;
    let stale = queue.claim_partition().await.unwrap().unwrap();
    let_leases_run_out(&pool).await;
    assert_eq!(queue.reap().await.unwrap(), 1);
    let heir = Queue::new(pool.clone(), settings());
    let fresh = heir.claim_partition().await.unwrap().unwrap();
    assert_eq!((fresh.id, fresh.epoch, fresh.attempt), (stale.id, stale.epoch + 2, 1), "a lost worker is no attempt");

    let lost = |result: Result<(), QueueError>| assert!(matches!(result, Err(QueueError::LeaseLost(_))), "{result:?}");
    let failure = Failure::new(ErrorCode::Internal, "late");
    lost(queue.complete_partition(&stale, staged("stale")).await);
    lost(queue.fail_partition(&stale, &failure, Retry::After(Duration::ZERO)).await);
    lost(queue.fail_partition(&stale, &failure, Retry::Never).await);
    lost(queue.release(&Claim::Partition(stale.id, stale.epoch)).await);
    lost(queue.record_attempt(&stale, "stale").await);
    heir.complete_partition(&fresh, staged("fresh")).await.unwrap();
    lost(heir.complete_partition(&fresh, staged("again")).await);

    let old = queue.claim_table().await.unwrap().unwrap();
    let_leases_run_out(&pool).await;
    queue.reap().await.unwrap();
    let new = heir.claim_table().await.unwrap().unwrap();
    lost(queue.complete_table(&old, files(), "s3://b/old".to_owned()).await);
    lost(queue.fail_publication(&old, &failure, Retry::Never).await);
    heir.complete_table(&new, files(), "s3://b/new".to_owned()).await.unwrap();
    let manifest: String =
        sqlx::query_scalar("SELECT manifest_url FROM table_export_job_statuses").fetch_one(&pool).await.unwrap();
    assert_eq!(manifest, "s3://b/new");
}

#[tokio::test]
async fn a_plan_of_a_lost_planner_is_not_committed() {
    let (pool, queue) = ready("queue_plan_fence").await;
    submit(&pool, "default").await;
    let stale = queue.claim_plan().await.unwrap().unwrap();
    let_leases_run_out(&pool).await;
    queue.reap().await.unwrap();
    let heir = Queue::new(pool.clone(), settings());
    let fresh = heir.claim_plan().await.unwrap().unwrap();
    assert_eq!(fresh.job, stale.job);
    assert!(matches!(queue.finish_plan(&stale, 1, Vec::new()).await, Err(QueueError::LeaseLost(_))));
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM export_job_tables").fetch_one(&pool).await.unwrap();
    assert_eq!(tables, 0);
}

#[tokio::test]
async fn a_failure_is_tried_again_after_a_pause_and_ends_its_table_at_the_last() {
    let (pool, queue) = ready("queue_retry").await;
    let job = submit(&pool, "default").await;
    plan(&queue, &[("way", 2), ("cctv", 1)]).await;
    let failure = Failure::new(ErrorCode::WarehouseUnavailable, "away");
    let first = queue.claim_partition().await.unwrap().unwrap();
    queue.fail_partition(&first, &failure, Retry::After(Duration::from_secs(60))).await.unwrap();
    let second = queue.claim_partition().await.unwrap().unwrap();
    assert_ne!(second.id, first.id, "the failed one waits");
    sqlx::raw_sql("UPDATE export_job_partitions SET due_at = clock_timestamp()").execute(&pool).await.unwrap();
    for attempt in 2..=3 {
        let again = queue.claim_partition().await.unwrap().unwrap();
        assert_eq!((again.id, again.attempt), (first.id, attempt));
        queue.fail_partition(&again, &failure, Retry::After(Duration::ZERO)).await.unwrap();
    }
    // The table has failed, and with it the partition that somebody still works on.
    assert!(matches!(queue.complete_partition(&second, staged("s")).await, Err(QueueError::LeaseLost(_))));
    let other = queue.claim_partition().await.unwrap().unwrap();
    assert_eq!(other.table.name(), "cctv", "the other table goes on");
    queue.complete_partition(&other, staged("c")).await.unwrap();
    let table = queue.claim_table().await.unwrap().unwrap();
    queue.complete_table(&table, files(), "s3://b/m".to_owned()).await.unwrap();
    let view = Requests::new(pool.clone()).find(&Tenant::default(), job).await.unwrap().unwrap();
    assert_eq!(view.state, JobState::Failed);
    let states: Vec<TableState> = view.tables.iter().map(|table| table.state).collect();
    assert_eq!(states, [TableState::Completed, TableState::Failed]);
    assert_eq!(view.error.unwrap().code, "WAREHOUSE_UNAVAILABLE");
}

#[tokio::test]
async fn what_takes_three_workers_with_it_is_poison() {
    let (pool, queue) = ready("queue_poison").await;
    let job = submit(&pool, "default").await;
    plan(&queue, &[("way", 1)]).await;
    for _ in 0..3 {
        queue.claim_partition().await.unwrap().expect("not poison yet");
        let_leases_run_out(&pool).await;
        queue.reap().await.unwrap();
    }
    assert!(queue.claim_partition().await.unwrap().is_none());
    let view = Requests::new(pool.clone()).find(&Tenant::default(), job).await.unwrap().unwrap();
    assert_eq!(view.state, JobState::Failed);
    assert_eq!(view.error.unwrap().code, "POISON_PARTITION");
}

/// It is counted and ended in two steps. Between them nobody is given it, and whoever looks next takes the second.
#[tokio::test]
async fn poison_is_handed_out_no_more_although_whoever_counted_it_died_before_it_was_ended() {
    const PLAN: &str = include_str!("../../src/jobs/sql/reap_jobs.sql");
    const PARTITION: &str = include_str!("../../src/jobs/sql/reap_partitions.sql");
    const TABLE: &str = include_str!("../../src/jobs/sql/reap_tables.sql");
    for (name, counted) in [("plan", PLAN), ("partition", PARTITION), ("table", TABLE)] {
        let (pool, queue) = ready(&format!("queue_poison_{name}")).await;
        let job = submit(&pool, "default").await;
        if name != "plan" {
            plan(&queue, &[("way", 1)]).await;
        }
        if name == "table" {
            let task = queue.claim_partition().await.unwrap().unwrap();
            queue.complete_partition(&task, staged("s")).await.unwrap();
        }
        let given = async || match name {
            "plan" => queue.claim_plan().await.unwrap().is_some(),
            "partition" => queue.claim_partition().await.unwrap().is_some(),
            _ => queue.claim_table().await.unwrap().is_some(),
        };
        for lost in 1..=3 {
            assert!(given().await, "a {name} is no poison yet");
            let_leases_run_out(&pool).await;
            if lost < 3 {
                queue.reap().await.unwrap();
            }
        }
        let taken = sqlx::query(counted).bind(6.0_f64).execute(&pool).await.unwrap().rows_affected();
        assert_eq!(taken, 1);
        assert!(!given().await, "a {name} that has taken three workers with it is given to a fourth");
        Queue::new(pool.clone(), settings()).reap().await.unwrap();
        let view = Requests::new(pool.clone()).find(&Tenant::default(), job).await.unwrap().unwrap();
        assert_eq!((view.state, view.error.unwrap().code.as_str()), (JobState::Failed, "POISON_PARTITION"), "{name}");
    }
}

#[tokio::test]
async fn a_tenant_has_so_many_active_jobs_and_no_more_however_many_replicas_ask() {
    let (pool, _) = ready("queue_slots").await;
    for _ in 0..8 {
        submit(&pool, "default").await;
    }
    let replicas: Vec<Queue> = (0..8).map(|_| Queue::new(pool.clone(), settings())).collect();
    for _ in 0..4 {
        futures::future::join_all(replicas.iter().map(Queue::claim_plan))
            .await
            .into_iter()
            .for_each(|claimed| drop(claimed.unwrap()));
    }
    let active: i64 =
        sqlx::query_scalar("SELECT count(*) FROM export_jobs WHERE state = 'PLANNING'").fetch_one(&pool).await.unwrap();
    assert_eq!(active, 3);
    submit(&pool, "another").await;
    assert_eq!(
        replicas[0].claim_plan().await.unwrap().unwrap().tenant,
        Tenant::new("another"),
        "its slots are its own"
    );
}

#[tokio::test]
async fn tenants_take_turns() {
    let (pool, queue) = ready("queue_fair").await;
    submit(&pool, "large").await;
    plan(&queue, &[("way", 6)]).await;
    submit(&pool, "small").await;
    plan(&queue, &[("way", 2)]).await;
    let mut order = Vec::new();
    while let Some(task) = queue.claim_partition().await.unwrap() {
        let tenant: String = sqlx::query_scalar("SELECT tenant FROM export_jobs WHERE id = $1")
            .bind(task.job.0)
            .fetch_one(&pool)
            .await
            .unwrap();
        order.push(tenant);
    }
    assert_eq!(order[..4].iter().filter(|tenant| *tenant == "small").count(), 2, "{order:?}");
}

#[tokio::test]
async fn workers_at_once_get_different_partitions_and_each_one_once() {
    let (pool, queue) = ready("queue_skip_locked").await;
    submit(&pool, "default").await;
    plan(&queue, &[("way", 40)]).await;
    let workers: Vec<Queue> = (0..8).map(|_| Queue::new(pool.clone(), settings())).collect();
    let mut claimed: Vec<i64> = futures::future::join_all(workers.iter().map(|worker| async {
        let mut ids = Vec::new();
        while let Some(task) = worker.claim_partition().await.unwrap() {
            ids.push(task.id);
        }
        ids
    }))
    .await
    .concat();
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!(claimed.len(), 40);
}

#[tokio::test]
async fn of_tables_that_end_at_once_one_ends_the_job() {
    let (pool, queue) = ready("queue_settle").await;
    let names: Vec<String> = (0..8).map(|i| format!("t{i}")).collect();
    let tables: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let job = submit(&pool, "default").await;
    plan(&queue, &tables).await;
    while let Some(task) = queue.claim_partition().await.unwrap() {
        queue.complete_partition(&task, staged(&format!("s{}", task.id))).await.unwrap();
    }
    let mut tasks = Vec::new();
    while let Some(task) = queue.claim_table().await.unwrap() {
        tasks.push(task);
    }
    let ended = tasks.iter().map(|task| queue.complete_table(task, files(), format!("s3://b/{}", task.table)));
    for result in futures::future::join_all(ended).await {
        result.unwrap();
    }
    let view = Requests::new(pool.clone()).find(&Tenant::default(), job).await.unwrap().unwrap();
    assert_eq!(view.state, JobState::Completed);
}

#[tokio::test]
async fn directories_are_never_used_twice() {
    let (pool, queue) = ready("queue_directories").await;
    for expected in ["dev/d", "dev/d_r2", "dev/d_r3"] {
        submit(&pool, "default").await;
        let task = queue.claim_plan().await.unwrap().unwrap();
        let fate =
            TableFate::Export { directory: "dev/d".to_owned(), plan: json!({}), partitions: vec![(json!({}), 1.0)] };
        queue.finish_plan(&task, 1, vec![PlannedTable { table: "way".parse().unwrap(), fate }]).await.unwrap();
        let directory: String = sqlx::query_scalar("SELECT directory FROM export_job_tables WHERE job_id = $1")
            .bind(task.job.0)
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(directory, expected);
    }
}

#[tokio::test]
async fn a_heartbeat_keeps_a_lease_and_tells_when_it_is_lost() {
    let (pool, queue) = ready("queue_heartbeat").await;
    submit(&pool, "default").await;
    plan(&queue, &[("way", 2)]).await;
    let url = cluster::url("queue_heartbeat");
    let short = QueueSettings { lease: Duration::from_secs(9), heartbeat: Duration::from_millis(300), ..settings() };
    let heartbeat = Heartbeat::start(url.parse().unwrap(), short).unwrap();
    let asked = Instant::now();
    let task = queue.claim_partition().await.unwrap().unwrap();
    let lease = heartbeat.hold(Claim::Partition(task.id, task.epoch), asked);
    lease.progress().row_counter().store(7, std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!lease.lost().is_cancelled(), "renewed beyond its first end");
    let (seen, late): (i64, bool) =
        sqlx::query_as("SELECT rows_seen, lease_until < clock_timestamp() FROM export_job_partitions WHERE id = $1")
            .bind(task.id)
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!((seen, late), (7, false));

    sqlx::query("UPDATE export_job_partitions SET lease_epoch = lease_epoch + 1 WHERE id = $1")
        .bind(task.id)
        .execute(&pool)
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(3), lease.lost().cancelled()).await.expect("told that it is lost");
}

/// Such as by its own commit, which itself waits for somebody who is frozen.
#[tokio::test]
async fn a_lease_that_waits_for_a_lock_holds_up_no_other_kind() {
    let (pool, queue) = ready("queue_heartbeat_lock").await;
    submit(&pool, "default").await;
    plan(&queue, &[("cctv", 1), ("way", 2)]).await;
    let url = cluster::url("queue_heartbeat_lock");
    let short = QueueSettings { lease: Duration::from_secs(6), heartbeat: Duration::from_millis(300), ..settings() };
    let heartbeat = Heartbeat::start(url.parse().unwrap(), short).unwrap();
    let first = queue.claim_partition().await.unwrap().unwrap();
    queue.complete_partition(&first, staged("s")).await.unwrap();
    let asked = Instant::now();
    let table = queue.claim_table().await.unwrap().unwrap();
    let published = heartbeat.hold(Claim::Table(table.job, table.table.clone(), table.epoch), asked);
    let hold = async || {
        let asked = Instant::now();
        let partition = queue.claim_partition().await.unwrap().unwrap();
        heartbeat.hold(Claim::Partition(partition.id, partition.epoch), asked)
    };
    let lock = async |sql: &'static str| {
        let mut transaction = pool.begin().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut *transaction).await.unwrap();
        transaction
    };
    let extracted = hold().await;
    let locked = lock("SELECT id FROM export_job_partitions WHERE state = 'RUNNING' FOR UPDATE").await;
    extracted.lost().cancelled().await;
    tokio::time::sleep(short.lease).await;
    assert!(!published.lost().is_cancelled(), "a table waits for a partition");
    locked.rollback().await.unwrap();

    let extracted = hold().await;
    let locked = lock("SELECT job_id FROM export_job_tables WHERE state = 'FINALIZING' FOR UPDATE").await;
    published.lost().cancelled().await;
    tokio::time::sleep(short.lease).await;
    assert!(!extracted.lost().is_cancelled(), "a partition waits for a table");
    locked.rollback().await.unwrap();
}

#[tokio::test]
async fn a_lease_that_was_claimed_long_ago_is_renewed_at_once() {
    let (pool, queue) = ready("queue_heartbeat_hurry").await;
    submit(&pool, "default").await;
    plan(&queue, &[("way", 1)]).await;
    let task = queue.claim_partition().await.unwrap().unwrap();
    let seldom = QueueSettings { lease: Duration::from_secs(300), heartbeat: Duration::from_secs(100), ..settings() };
    let heartbeat = Heartbeat::start(cluster::url("queue_heartbeat_hurry").parse().unwrap(), seldom).unwrap();
    // The first look is at once, and finds nothing.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let claim = Claim::Partition(task.id, task.epoch);
    let _lease = heartbeat.hold(claim, Instant::now().checked_sub(Duration::from_secs(101)).unwrap());
    let renewed = "SELECT lease_until > clock_timestamp() + interval '200 s' FROM export_job_partitions";
    let deadline = Instant::now() + Duration::from_secs(60);
    while !sqlx::query_scalar::<_, bool>(renewed).fetch_one(&pool).await.unwrap() {
        assert!(Instant::now() < deadline, "it is not renewed before its time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_is_given_up_before_it_runs_out() {
    // Nobody answers here: a database that is away.
    let away = "postgres://nobody@127.0.0.1:1/none".parse().unwrap();
    let short = QueueSettings { lease: Duration::from_secs(3), heartbeat: Duration::from_millis(300), ..settings() };
    let heartbeat = Heartbeat::start(away, short).unwrap();
    let asked = Instant::now();
    let lease = heartbeat.hold(Claim::Partition(1, 1), asked);
    lease.lost().cancelled().await;
    assert!(
        asked.elapsed() >= Duration::from_millis(1_900) && asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
}
