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
        let mut reaped = [0; 3];
        let statements = [
            include_str!("sql/reap_partitions.sql"),
            include_str!("sql/reap_tables.sql"),
            include_str!("sql/reap_jobs.sql"),
        ];
        for (statement, reaped) in statements.into_iter().zip(&mut reaped) {
            let late = sqlx::query(statement).bind(self.settings().lease.as_secs_f64());
            *reaped = late.execute(self.pool()).await?.rows_affected();
        }
        self.reap_snapshots().await?;
        let [partitions, tables, plans] = reaped;
        let reaped = partitions + tables + plans;
        if reaped > 0 {
            tracing::warn!(partitions, tables, plans, "took back work of lost workers");
            metrics::counter!("exporter_leases_reaped_total").increment(reaped);
        }
        self.end_poison().await?;
        Ok(usize::try_from(reaped).unwrap_or(usize::MAX))
    }

    /// Ends what has taken too many workers with it. Nobody is given it meanwhile, and it is looked for each time: whoever
    /// counted the last of them may not have come so far.
    async fn end_poison(&self) -> Result<(), QueueError> {
        let crashes = self.settings().max_crashes;
        let poison = Failure::new(
            ErrorCode::PoisonPartition,
            format!(
                "{crashes} workers died while they worked on it; look at their logs and memory before it is requested again"
            ),
        );
        let partitions: Vec<(i64, Uuid, String)> =
            sqlx::query_as(include_str!("sql/poison_partitions.sql")).bind(crashes).fetch_all(self.pool()).await?;
        let tables: Vec<(Uuid, String)> =
            sqlx::query_as(include_str!("sql/poison_tables.sql")).bind(crashes).fetch_all(self.pool()).await?;
        let partitions = partitions.into_iter().map(|(id, job, table)| (job, table, Some(id)));
        let tables = tables.into_iter().map(|(job, table)| (job, table, None));
        for (job, table, partition) in partitions.chain(tables) {
            if let Ok(table) = table.parse::<TableName>() {
                self.end_table(JobId(job), &table, partition, &poison, None).await?;
            }
        }
        let jobs: Vec<Uuid> =
            sqlx::query_scalar(include_str!("sql/poison_jobs.sql")).bind(crashes).fetch_all(self.pool()).await?;
        for job in jobs {
            sqlx::query(include_str!("sql/fail_job.sql"))
                .bind(job)
                .bind(None::<i64>)
                .bind(poison.code.as_str())
                .bind(&poison.message)
                .execute(self.pool())
                .await?;
        }
        Ok(())
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
