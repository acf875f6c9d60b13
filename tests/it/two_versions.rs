//! A rollout: workers of the version before go on with their own statements while the schema is the new one and new
//! workers run beside them. Expand, then contract: what a migration takes away, nobody uses any more.

use std::collections::BTreeMap;

use data_exporter::jobs::{JobState, Queue, QueueError};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::support::metadata;
use crate::support::queue::{files, let_leases_run_out, plan, ready, settings, staged, submit, view};

/// The statements of the version before, by name.
fn before() -> BTreeMap<&'static str, &'static str> {
    let text = include_str!("two_versions.sql");
    text.split("-- name: ").skip(1).map(|part| part.split_once('\n').unwrap()).collect()
}

#[tokio::test]
async fn the_statements_of_the_version_before_fit_the_new_schema() {
    let pool = metadata::database("two_versions_prepare").await;
    let statements = before();
    assert!(statements.len() > 30, "the fixture was cut");
    for (name, text) in statements {
        let prepared = sqlx::raw_sql(AssertSqlSafe(format!("PREPARE before_{name} AS {text}"))).execute(&pool).await;
        assert!(prepared.is_ok(), "{name}: {}", prepared.unwrap_err());
    }
}

/// A worker of the version before, as far as its statements go.
struct Old {
    pool: PgPool,
    worker: Uuid,
    statements: BTreeMap<&'static str, &'static str>,
}

#[derive(FromRow, Clone)]
struct Held {
    id: i64,
    lease_epoch: i64,
}

impl Old {
    fn new(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), worker: Uuid::new_v4(), statements: before() }
    }

    async fn claim(&self) -> Option<Held> {
        sqlx::query_as(self.statements["claim_partition"])
            .bind(self.worker)
            .bind(6.0_f64)
            .bind(None::<Uuid>)
            .fetch_optional(&self.pool)
            .await
            .unwrap()
    }

    async fn renews(&self, held: &Held) -> bool {
        let renewed = sqlx::query(self.statements["heartbeat_partitions"])
            .bind(vec![held.id])
            .bind(vec![held.lease_epoch])
            .bind(vec![5_i64])
            .bind(6.0_f64);
        renewed.fetch_all(&self.pool).await.unwrap().len() == 1
    }

    async fn commits(&self, held: &Held, key: &str) -> bool {
        let mut tx = self.pool.begin().await.unwrap();
        let object = staged(key);
        let row: Option<PgRow> = sqlx::query(self.statements["complete_partition"])
            .bind(held.id)
            .bind(held.lease_epoch)
            .bind(key)
            .bind(object.rows)
            .bind(object.bytes)
            .bind(&object.sha256)
            .bind(&object.etag)
            .bind(sqlx::types::Json(&object.report))
            .fetch_optional(&mut *tx)
            .await
            .unwrap();
        let Some(row) = row else { return false };
        let (job, table): (Uuid, String) = (row.get(0), row.get(1));
        sqlx::query(self.statements["count_partition"]).bind(job).bind(table).execute(&mut *tx).await.unwrap();
        sqlx::query(self.statements["settle_job"]).bind(job).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        true
    }

    async fn reaps(&self) -> usize {
        let reaped = sqlx::query(self.statements["reap_partitions"]).bind(3).fetch_all(&self.pool).await;
        reaped.unwrap().len()
    }

    /// Publishes the next table.
    async fn publishes(&self) -> bool {
        let table: Option<PgRow> = sqlx::query(self.statements["claim_table"])
            .bind(self.worker)
            .bind(6.0_f64)
            .bind(None::<Uuid>)
            .fetch_optional(&self.pool)
            .await
            .unwrap();
        let Some(table) = table else { return false };
        let (job, name): (Uuid, String) = (table.get("job_id"), table.get("table_name"));
        let epoch: i64 = table.get("lease_epoch");
        let mut tx = self.pool.begin().await.unwrap();
        let done = sqlx::query(self.statements["complete_table"])
            .bind(job)
            .bind(&name)
            .bind(epoch)
            .bind(sqlx::types::Json(files()));
        assert!(done.fetch_optional(&mut *tx).await.unwrap().is_some());
        let status = sqlx::query(self.statements["complete_status"]).bind(job).bind(&name).bind(10_i64).bind(100_i64);
        status.bind("s3://b/old").execute(&mut *tx).await.unwrap();
        sqlx::query(self.statements["settle_job"]).bind(job).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        true
    }
}

#[tokio::test]
async fn workers_of_two_versions_work_one_job_and_fence_each_other() {
    let (pool, new) = ready("two_versions").await;
    let old = Old::new(&pool);
    let job = submit(&pool, "default").await;
    plan(&new, &[("cctv", 2), ("way", 3)]).await;

    let first = old.claim().await.unwrap();
    let second = new.claim_partition().await.unwrap().unwrap();
    assert_ne!(first.id, second.id);
    assert!(old.renews(&first).await && old.commits(&first, "old").await);
    assert!(!old.commits(&first, "old-again").await);
    new.complete_partition(&second, staged("new")).await.unwrap();

    // Each takes over what the other has lost, and the other commits nothing.
    let lost = old.claim().await.unwrap();
    let_leases_run_out(&pool).await;
    assert_eq!(new.reap().await.unwrap(), 1);
    let heir = new.claim_partition().await.unwrap().unwrap();
    assert_eq!(heir.id, lost.id);
    assert!(!old.renews(&lost).await && !old.commits(&lost, "late").await);
    let_leases_run_out(&pool).await;
    assert_eq!(old.reaps().await, 1);
    let again = old.claim().await.unwrap();
    assert_eq!(again.id, lost.id);
    assert!(matches!(new.complete_partition(&heir, staged("late")).await, Err(QueueError::LeaseLost(_))));
    assert!(old.commits(&again, "old-heir").await);

    while let Some(task) = new.claim_partition().await.unwrap() {
        new.complete_partition(&task, staged(&format!("s{}", task.id))).await.unwrap();
    }
    assert!(old.publishes().await);
    let table = new.claim_table().await.unwrap().unwrap();
    new.seal(&table).await.unwrap();
    new.complete_table(&table, files(), "s3://b/new".to_owned()).await.unwrap();
    assert_eq!(view(&pool, job).await.state, JobState::Completed);
}

/// The version before knows of no cancellation: it must find its lease gone, or its commit refused.
#[tokio::test]
async fn what_is_cancelled_beside_an_old_worker_ends_and_is_not_published_by_it() {
    let (pool, new) = ready("two_versions_cancel").await;
    let old = Old::new(&pool);
    let job = submit(&pool, "default").await;
    plan(&new, &[("way", 2)]).await;
    let held = old.claim().await.unwrap();
    let requests = data_exporter::jobs::Requests::new(pool.clone());
    requests.cancel(&Default::default(), job, "somebody").await.unwrap();
    old.commits(&held, "old").await;
    let_leases_run_out(&pool).await;
    let sweeper = Queue::new(pool.clone(), settings());
    sweeper.reap().await.unwrap();
    sweeper.end_jobs().await.unwrap();
    assert_eq!(view(&pool, job).await.state, JobState::Cancelled);
    assert!(!old.publishes().await);
}
