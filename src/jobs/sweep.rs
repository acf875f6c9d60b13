//! What any replica does for all: takes back work whose worker is gone, and lists what dead attempts have left.

use classification::TableName;
use futures::future::BoxFuture;
use sqlx::types::Json;
use uuid::Uuid;

use super::model::JobId;
use super::queue::{Queue, QueueError};
use crate::error::{ErrorCode, Failure};

/// An attempt's object or upload that nobody will use any more.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Leftover {
    /// The object's key.
    pub staging_key: String,
    /// The multipart upload; `None` also where one was started and its worker died before it could say so.
    pub upload_id: Option<String>,
}

/// What a publication that came to nothing may have left under final names. There is no manifest among it.
#[derive(Debug, Clone)]
pub struct Unpublished {
    /// Keys of objects.
    pub keys: Vec<String>,
}

/// How many attempts one sweep removes, so that a transaction stays short.
const LEFTOVERS_A_SWEEP: i64 = 20;
/// Between two statements of these transactions the store is asked, which may take its time. Nobody waits for the rows.
const WAIT_FOR_THE_STORE: &str = "SET LOCAL idle_in_transaction_session_timeout = '2min'";

impl Queue {
    /// Takes back every lease that has run out, and ends what has taken too many workers with it. Returns how many
    /// leases were taken back.
    pub async fn reap(&self) -> Result<usize, QueueError> {
        let (crashes, lease) = (self.settings().max_crashes, self.settings().lease.as_secs_f64());
        let partitions: Vec<(i64, Uuid, String, bool)> = sqlx::query_as(include_str!("sql/reap_partitions.sql"))
            .bind(crashes)
            .bind(lease)
            .fetch_all(self.pool())
            .await?;
        let tables: Vec<(Uuid, String, bool)> = sqlx::query_as(include_str!("sql/reap_tables.sql"))
            .bind(crashes)
            .bind(lease)
            .fetch_all(self.pool())
            .await?;
        let jobs: Vec<(Uuid, bool)> =
            sqlx::query_as(include_str!("sql/reap_jobs.sql")).bind(crashes).bind(lease).fetch_all(self.pool()).await?;
        self.reap_snapshots().await?;
        let reaped = partitions.len() + tables.len() + jobs.len();
        if reaped > 0 {
            tracing::warn!(
                partitions = partitions.len(),
                tables = tables.len(),
                plans = jobs.len(),
                "took back work of lost workers"
            );
            metrics::counter!("exporter_leases_reaped_total").increment(reaped as u64);
        }

        let poison = Failure::new(
            ErrorCode::PoisonPartition,
            format!(
                "{crashes} workers died while they worked on it; look at their logs and memory before it is requested again"
            ),
        );
        let dead_partitions = partitions.into_iter().filter(|p| p.3).map(|(id, job, table, _)| (job, table, Some(id)));
        let dead_tables = tables.into_iter().filter(|t| t.2).map(|(job, table, _)| (job, table, None));
        for (job, table, partition) in dead_partitions.chain(dead_tables) {
            if let Ok(table) = table.parse::<TableName>() {
                self.end_table(JobId(job), &table, partition, &poison, None).await?;
            }
        }
        for (job, _) in jobs.into_iter().filter(|(_, poison)| *poison) {
            sqlx::query(include_str!("sql/fail_job.sql"))
                .bind(job)
                .bind(None::<i64>)
                .bind(poison.code.as_str())
                .bind(&poison.message)
                .execute(self.pool())
                .await?;
        }
        Ok(reaped)
    }

    /// Hands each leftover to `remove` and notes those for which it returns true. The rows are locked meanwhile, so
    /// replicas do not do it twice. Returns how many were removed.
    pub async fn clear_leftovers<F>(&self, remove: F) -> Result<usize, QueueError>
    where
        F: Fn(Leftover) -> BoxFuture<'static, bool> + Send + Sync + 'static,
    {
        self.in_transaction(move |tx| {
            Box::pin(async move {
                sqlx::raw_sql(WAIT_FOR_THE_STORE).execute(&mut *tx).await?;
                let leftovers: Vec<Leftover> = sqlx::query_as(include_str!("sql/leftovers.sql"))
                    .bind(LEFTOVERS_A_SWEEP)
                    .fetch_all(&mut *tx)
                    .await?;
                let mut removed = 0;
                for leftover in leftovers {
                    let staging_key = leftover.staging_key.clone();
                    if remove(leftover).await {
                        sqlx::query(include_str!("sql/removed.sql")).bind(staging_key).execute(&mut *tx).await?;
                        removed += 1;
                    }
                }
                Ok(removed)
            })
        })
        .await
    }

    /// Hands what is left of publications that came to nothing to `remove`, and notes those for which it returns true;
    /// otherwise as [`Queue::clear_leftovers`].
    pub async fn clear_unpublished<F>(&self, remove: F) -> Result<usize, QueueError>
    where
        F: Fn(Unpublished) -> BoxFuture<'static, bool> + Send + Sync + 'static,
    {
        self.in_transaction(move |tx| {
            Box::pin(async move {
                sqlx::raw_sql(WAIT_FOR_THE_STORE).execute(&mut *tx).await?;
                let left: Vec<(Uuid, String, Json<Vec<String>>)> = sqlx::query_as(include_str!("sql/unpublished.sql"))
                    .bind(LEFTOVERS_A_SWEEP)
                    .fetch_all(&mut *tx)
                    .await?;
                let mut removed = 0;
                for (job, table, keys) in left {
                    if remove(Unpublished { keys: keys.0 }).await {
                        sqlx::query(include_str!("sql/unpublished_removed.sql"))
                            .bind(job)
                            .bind(table)
                            .execute(&mut *tx)
                            .await?;
                        removed += 1;
                    }
                }
                Ok(removed)
            })
        })
        .await
    }
}
