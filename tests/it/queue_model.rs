//! Random interleavings of all that is done to the queue, each step followed by a look at every invariant, and two
//! weaker fences that this must notice.
//!
//! Several workers keep what they were once handed and use it whenever chance says so: after their lease was taken, after
//! somebody else has committed, after the job has ended. What the database holds is compared with what each step may do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::{
    Claim, JobId, PartitionTask, PlanTask, PlannedTable, Queue, QueueError, Requests, Retry, TableFate, TableTask,
    Tenant, stalled,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sqlx::postgres::PgPool;
use uuid::Uuid;

use crate::support::queue::{files, let_leases_run_out, ready, settings, staged, submit};

/// Interleavings that every form of the fence is tried with, and steps of each.
const RUNS: u64 = 10;
const STEPS: usize = 250;
const WORKERS: usize = 3;

/// How a partition is committed: as the product does, or by less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    Epoch,
    /// Only that somebody works on it.
    StateAlone,
    /// Only which one it is.
    IdAlone,
}

impl Fence {
    /// The product's own statement, its fence weakened.
    fn statement(self) -> String {
        let real = include_str!("../../src/jobs/sql/complete_partition.sql");
        let (fence, job) = ("AND lease_epoch = $2 AND state = 'RUNNING'", "\n  AND EXISTS (");
        assert!(real.contains(fence) && real.contains(job), "the fence has moved; move this test with it");
        // The epoch's parameter stays, so that the statement is bound alike.
        match self {
            Self::Epoch => real.to_owned(),
            Self::StateAlone => real.replace(fence, "AND $2::bigint IS NOT NULL AND state = 'RUNNING'"),
            Self::IdAlone => real.replace(fence, "AND $2::bigint IS NOT NULL"),
        }
    }
}

/// One process, and all that it was ever handed.
struct Worker {
    queue: Queue,
    plans: Vec<PlanTask>,
    partitions: Vec<PartitionTask>,
    tables: Vec<TableTask>,
}

struct Model {
    pool: PgPool,
    requests: Requests,
    workers: Vec<Worker>,
    fence: Fence,
    random: StdRng,
    /// The highest epoch ever seen of everything that is leased.
    epochs: BTreeMap<String, i64>,
    /// The object that each partition was committed with.
    committed: BTreeMap<i64, String>,
    /// Jobs that have ended, and how.
    ended: BTreeMap<Uuid, String>,
    taken: BTreeMap<&'static str, usize>,
    number: usize,
}

impl Model {
    async fn new(pool: &PgPool, fence: Fence, seed: u64) -> Self {
        sqlx::raw_sql("TRUNCATE export_jobs, export_directories, table_export_job_statuses CASCADE")
            .execute(pool)
            .await
            .unwrap();
        let worker = || Worker {
            queue: Queue::new(pool.clone(), settings()),
            plans: Vec::new(),
            partitions: Vec::new(),
            tables: Vec::new(),
        };
        Self {
            pool: pool.clone(),
            requests: Requests::new(pool.clone()),
            workers: (0..WORKERS).map(|_| worker()).collect(),
            fence,
            random: StdRng::seed_from_u64(seed),
            epochs: BTreeMap::new(),
            committed: BTreeMap::new(),
            ended: BTreeMap::new(),
            taken: BTreeMap::new(),
            number: 0,
        }
    }

    /// One step of one worker, requester or administrator. An error is what a fence did not stop and a constraint did.
    async fn step(&mut self) -> Result<(), QueueError> {
        self.number += 1;
        let worker = self.random.random_range(0..WORKERS);
        let failure = Failure::new(ErrorCode::WarehouseUnavailable, "away");
        let queue = self.workers[worker].queue.clone();
        let step = self.random.random_range(0..100);
        match step {
            0..=4 => {
                // A full queue is no step.
                let _ = submit(&self.pool, "default").await;
                Ok(())
            }
            5..=11 => {
                let claimed = queue.claim_plan().await?;
                self.workers[worker].plans.extend(claimed);
                Ok(())
            }
            12..=18 => match self.any(worker, |worker| &worker.plans) {
                Some(plan) if self.random.random_range(0..6) > 0 => {
                    self.taken("plan", queue.finish_plan(&plan, 1, planned(&plan)).await)
                }
                Some(plan) => {
                    self.taken("plan failed", queue.fail_plan(&plan, &failure, Retry::After(Duration::ZERO)).await)
                }
                None => Ok(()),
            },
            19..=38 => {
                let claimed = queue.claim_partition().await?;
                self.workers[worker].partitions.extend(claimed);
                Ok(())
            }
            39..=58 => match self.any(worker, |worker| &worker.partitions) {
                Some(task) => self.commit(&queue, &task).await,
                None => Ok(()),
            },
            59..=63 => match self.any(worker, |worker| &worker.partitions) {
                Some(task) => {
                    let retry =
                        if self.random.random_range(0..8) == 0 { Retry::Never } else { Retry::After(Duration::ZERO) };
                    self.taken("failed", queue.fail_partition(&task, &failure, retry).await)
                }
                None => Ok(()),
            },
            64..=66 => match self.any(worker, |worker| &worker.partitions) {
                Some(task) => self.taken("released", queue.release(&Claim::Partition(task.id, task.epoch)).await),
                None => Ok(()),
            },
            67..=69 => match self.any(worker, |worker| &worker.partitions) {
                Some(task) => {
                    self.heartbeat(&task).await;
                    Ok(())
                }
                None => Ok(()),
            },
            70..=76 => {
                let claimed = queue.claim_table().await?;
                self.workers[worker].tables.extend(claimed);
                Ok(())
            }
            77..=86 => match self.any(worker, |worker| &worker.tables) {
                Some(table) => self.publish(&queue, &table, &failure).await,
                None => Ok(()),
            },
            87..=89 => {
                let_leases_run_out(&self.pool).await;
                queue.reap().await.map(drop)
            }
            90 => {
                if let Some(job) = self.any_job().await {
                    self.cancel(job).await;
                }
                Ok(())
            }
            91 if self.random.random() => {
                if let Some(job) = self.any_job().await {
                    let mut tx = stalled::begin(&self.pool).await.unwrap();
                    let cleared = stalled::clear(&mut tx, None, JobId(job), Duration::ZERO, true, "somebody").await;
                    if cleared.is_ok() {
                        tx.commit().await.unwrap();
                    }
                }
                Ok(())
            }
            _ => queue.end_jobs().await.map(drop),
        }
    }

    /// Something that this worker was handed at some time, the latest as a rule.
    fn any<T: Clone>(&mut self, worker: usize, of: impl Fn(&Worker) -> &Vec<T>) -> Option<T> {
        let all = of(&self.workers[worker]);
        if self.random.random_range(0..4) > 0 { all.last().cloned() } else { all.choose(&mut self.random).cloned() }
    }

    async fn any_job(&mut self) -> Option<Uuid> {
        let jobs: Vec<Uuid> =
            sqlx::query_scalar("SELECT id FROM export_jobs ORDER BY id").fetch_all(&self.pool).await.unwrap();
        jobs.choose(&mut self.random).copied()
    }

    /// Notes what was done. Whoever is told that his lease is lost has changed nothing, which the next look shows.
    fn taken(&mut self, what: &'static str, done: Result<(), QueueError>) -> Result<(), QueueError> {
        match done {
            Ok(()) => *self.taken.entry(what).or_default() += 1,
            Err(QueueError::LeaseLost(_) | QueueError::Ending(_)) => *self.taken.entry("refused").or_default() += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn commit(&mut self, queue: &Queue, task: &PartitionTask) -> Result<(), QueueError> {
        let object = staged(&format!("{}-e{}-{}", task.id, task.epoch, self.number));
        if self.fence == Fence::Epoch {
            let done = queue.complete_partition(task, object).await;
            return self.taken("committed", done);
        }
        let mut tx = self.pool.begin().await?;
        let of: Option<(Uuid, String)> = sqlx::query_as(sqlx::AssertSqlSafe(self.fence.statement()))
            .bind(task.id)
            .bind(task.epoch)
            .bind(&object.staging_key)
            .bind(object.rows)
            .bind(object.bytes)
            .bind(&object.sha256)
            .bind(&object.etag)
            .bind(sqlx::types::Json(&object.report))
            .bind(object.snapshot)
            .fetch_optional(&mut *tx)
            .await?;
        let Some((job, table)) = of else { return Ok(()) };
        let counted: Option<String> = sqlx::query_scalar(include_str!("../../src/jobs/sql/count_partition.sql"))
            .bind(job)
            .bind(&table)
            .fetch_optional(&mut *tx)
            .await?;
        if counted.is_some() {
            tx.commit().await?;
        }
        Ok(())
    }

    /// Cancels a job, without waiting for tables that are sealed: nobody finishes them while this waits.
    async fn cancel(&self, job: Uuid) {
        let (tenant, requests, pool) = (Tenant::default(), self.requests.clone(), self.pool.clone());
        let goes_on = async || {
            let sql = "SELECT state IN ('QUEUED', 'PLANNING', 'RUNNING', 'FINALIZING') FROM export_jobs WHERE id = $1";
            sqlx::query_scalar::<_, bool>(sql).bind(job).fetch_one(&pool).await.unwrap()
        };
        let begun = async {
            while goes_on().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            cancelled = requests.cancel(&tenant, JobId(job), "somebody") => drop(cancelled.unwrap()),
            () = begun => {}
        }
    }

    async fn heartbeat(&mut self, task: &PartitionTask) {
        let held: Option<(i64, String)> =
            sqlx::query_as("SELECT lease_epoch, state FROM export_job_partitions WHERE id = $1")
                .bind(task.id)
                .fetch_optional(&self.pool)
                .await
                .unwrap();
        let renewed: Vec<(i64, i64, bool)> =
            sqlx::query_as(include_str!("../../src/jobs/sql/heartbeat_partitions.sql"))
                .bind(vec![task.id])
                .bind(vec![task.epoch])
                .bind(vec![1_i64])
                .bind(6.0_f64)
                .bind(vec![1_i64])
                .fetch_all(&self.pool)
                .await
                .unwrap();
        assert_eq!(renewed.len() == 1, held == Some((task.epoch, "RUNNING".to_owned())), "renewed what is held");
    }

    async fn publish(&mut self, queue: &Queue, table: &TableTask, failure: &Failure) -> Result<(), QueueError> {
        match self.random.random_range(0..6) {
            0 => {
                let done = queue.fail_publication(table, failure, Retry::After(Duration::ZERO)).await;
                self.taken("publication failed", done)
            }
            1 => {
                let done = queue.release(&Claim::Table(table.job, table.table.clone(), table.epoch)).await;
                self.taken("publication released", done)
            }
            2 => {
                let done = queue.seal(table).await;
                self.taken("sealed", done)
            }
            _ => {
                let sealed = queue.seal(table).await;
                let may = sealed.is_ok();
                self.taken("sealed", sealed)?;
                if may {
                    let done = queue.complete_table(table, files(), "s3://b/m".to_owned()).await;
                    self.taken("published", done)?;
                }
                Ok(())
            }
        }
    }

    /// Everything that must be so after every step; what is not, in words.
    async fn broken(&mut self) -> Option<String> {
        // What constraints hold too, in the words of the design.
        let states = "SELECT 'running without a lease or leased without running' FROM export_job_partitions
                WHERE (state = 'RUNNING') <> (lease_until IS NOT NULL)
            UNION ALL SELECT 'completed without an object' FROM export_job_partitions
                WHERE (state = 'COMPLETED') <> (staging_key IS NOT NULL)
            UNION ALL SELECT 'done is not what is done' FROM export_job_tables AS t
                WHERE partitions_done > partitions_total OR (state <> 'FAILED' AND partitions_done <>
                    (SELECT count(*) FROM export_job_partitions AS p WHERE p.job_id = t.job_id
                     AND p.table_name = t.table_name AND p.state = 'COMPLETED'))
            UNION ALL SELECT 'a table went on without its partitions' FROM export_job_tables
                WHERE state IN ('READY', 'FINALIZING', 'COMPLETED') AND partitions_done <> partitions_total
            UNION ALL SELECT 'an ended job has open tables' FROM export_jobs AS j JOIN export_job_tables AS t ON t.job_id = j.id
                WHERE j.completed_at IS NOT NULL AND t.state IN ('EXTRACTING', 'READY', 'FINALIZING')
            UNION ALL SELECT 'an ended table has open partitions' FROM export_job_tables AS t
                JOIN export_job_partitions AS p ON p.job_id = t.job_id AND p.table_name = t.table_name
                WHERE t.state IN ('COMPLETED', 'FAILED') AND p.state IN ('PENDING', 'RUNNING')
            UNION ALL SELECT 'more active than slots' FROM export_jobs WHERE slot IS NOT NULL HAVING count(*) > 3
            UNION ALL SELECT 'a slot is held by none or too many' FROM export_jobs
                WHERE (slot IS NOT NULL) <> (state IN ('PLANNING', 'RUNNING', 'FINALIZING', 'CANCELLING'))
            UNION ALL SELECT 'a sealed table was ended' FROM export_job_tables WHERE sealed_at IS NOT NULL AND state = 'FAILED'
                AND error_code IN ('CANCELLED', 'STALLED')
            UNION ALL SELECT 'counted below nothing' FROM export_job_partitions WHERE attempts < 0 OR crashes < 0";
        let broken: Option<String> = sqlx::query_scalar(states).fetch_optional(&self.pool).await.unwrap();
        if broken.is_some() {
            return broken;
        }
        let epochs: Vec<(String, i64)> = sqlx::query_as(
            "SELECT 'p' || id, lease_epoch FROM export_job_partitions
             UNION ALL SELECT 't' || job_id || table_name, lease_epoch FROM export_job_tables
             UNION ALL SELECT 'j' || id, lease_epoch FROM export_jobs",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        for (what, epoch) in epochs {
            let before = self.epochs.insert(what.clone(), epoch).unwrap_or(epoch);
            if epoch < before {
                return Some(format!("the epoch of {what} fell from {before} to {epoch}"));
            }
        }
        let objects: Vec<(i64, i64, String)> =
            sqlx::query_as("SELECT id, lease_epoch, staging_key FROM export_job_partitions WHERE state = 'COMPLETED'")
                .fetch_all(&self.pool)
                .await
                .unwrap();
        for (id, epoch, object) in objects {
            if !object.starts_with(&format!("{id}-e{epoch}-")) {
                return Some(format!("partition {id} is at epoch {epoch} and holds {object} of another"));
            }
            let first = self.committed.entry(id).or_insert_with(|| object.clone());
            if *first != object {
                return Some(format!("partition {id} was committed twice: {first}, {object}"));
            }
        }
        let ended: Vec<(Uuid, String)> =
            sqlx::query_as("SELECT id, state FROM export_jobs WHERE completed_at IS NOT NULL")
                .fetch_all(&self.pool)
                .await
                .unwrap();
        for (job, state) in ended {
            let first = self.ended.entry(job).or_insert_with(|| state.clone());
            if *first != state {
                return Some(format!("job {job} ended as {first} and then as {state}"));
            }
        }
        None
    }
}

/// Two tables of a few partitions.
fn planned(task: &PlanTask) -> Vec<PlannedTable> {
    let fate = |table: &str, partitions: usize| TableFate::Export {
        directory: format!("dev/{}/{table}", task.job),
        plan: json!({"policy": {"hash": "h"}}),
        partitions: vec![(json!({}), 10.0); partitions],
    };
    [("cctv", 2), ("way", 3)]
        .into_iter()
        .map(|(table, partitions)| PlannedTable { table: table.parse().unwrap(), fate: fate(table, partitions) })
        .collect()
}

/// Runs interleavings until something is broken. Tells what, and what was done.
async fn explore(name: &str, fence: Fence) -> (Option<String>, BTreeMap<&'static str, usize>) {
    let (pool, _) = ready(name).await;
    let seed: u64 = std::env::var("EXPORTER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20);
    let mut done = BTreeMap::new();
    for run in seed..seed + RUNS {
        let mut model = Model::new(&pool, fence, run).await;
        for step in 0..STEPS {
            let failed = model.step().await.err().map(|error| format!("a constraint says: {error}"));
            let broken = match failed {
                Some(failed) => Some(failed),
                None => model.broken().await,
            };
            if let Some(broken) = broken {
                return (Some(format!("EXPORTER_TEST_SEED={run}, step {step}: {broken}")), model.taken);
            }
        }
        for (what, times) in model.taken {
            *done.entry(what).or_default() += times;
        }
    }
    (None, done)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_interleaving_breaks_an_invariant() {
    let (broken, done) = explore("queue_model", Fence::Epoch).await;
    println!("{done:?}");
    assert_eq!(broken, None);
    let wanted = BTreeSet::from(["committed", "refused", "released", "failed", "sealed", "published", "plan"]);
    assert!(
        wanted.iter().all(|what| done.get(what).is_some_and(|times| *times > 0)),
        "hardly anything was tried: {done:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_by_state_alone_is_noticed() {
    let broken = explore("queue_model_state", Fence::StateAlone).await.0;
    println!("{broken:?}");
    assert!(broken.is_some_and(|broken| broken.contains("of another")), "a superseded worker commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_by_id_alone_is_noticed() {
    let broken = explore("queue_model_id", Fence::IdAlone).await.0;
    println!("{broken:?}");
    assert!(broken.is_some(), "what is committed is committed again");
}
