//! How jobs are ended before their time: by their requester, or by an administrator who clears one that is stuck.
//!
//! A job that is to end goes to CANCELLING. From then on nothing of it is claimed or committed; its workers hear of it
//! with their next heartbeat, give up what they hold, and abort their uploads. What is left is ended here, by
//! whoever looks first: the caller, a worker that let go, or any replica's sweep.
//!
//! One thing is not undone: a table that is *sealed*, whose manifest is about to be written. Nobody can tell from
//! outside whether that write has reached the store, and a finalizer that is frozen may send it in an hour. So it is
//! finished, by repeating it with the same bytes, and stays listed as completed. Before the seal, a finalizer has no
//! way to write a manifest any more.
//!
//! Locks are taken in the order of the workers: partition, table, job. Partitions are never waited for here; elsewhere
//! several are waited for in the order of their ids.

use classification::TableName;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::model::{JobId, Tenant};
use super::queue::{Claim, Queue, QueueError, TableTask, fail_status, settle};
use crate::error::{ErrorCode, Failure};

/// Waits until nobody commits anything about a job's tables; to be called first in a transaction that ends a job.
/// Another's than this tenant's are not touched.
pub(super) async fn lock_tables(tx: &mut PgConnection, job: JobId, tenant: Option<&Tenant>) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("sql/lock_tables.sql"))
        .bind(job.0)
        .bind(tenant.map(Tenant::as_str))
        .execute(tx)
        .await
        .map(drop)
}

/// Ends what can be ended by now of a job in CANCELLING, whose tables are locked. A job in another state is left alone.
pub(super) async fn end_what_is_left(tx: &mut PgConnection, job: JobId) -> Result<(), QueueError> {
    let waits: Option<bool> =
        sqlx::query_scalar(include_str!("sql/lock_ending.sql")).bind(job.0).fetch_optional(&mut *tx).await?;
    let Some(waits) = waits else { return Ok(()) };
    sqlx::query(include_str!("sql/end_partitions.sql")).bind(job.0).bind(!waits).execute(&mut *tx).await?;
    let ended: Vec<(String, String, Option<String>)> =
        sqlx::query_as(include_str!("sql/end_tables.sql")).bind(job.0).bind(!waits).fetch_all(&mut *tx).await?;
    for (table, code, message) in ended {
        let code = ErrorCode::ALL.iter().copied().find(|known| known.as_str() == code).unwrap_or(ErrorCode::Cancelled);
        fail_status(tx, job, &table, &Failure::new(code, message.unwrap_or_default())).await?;
    }
    let state: Option<String> =
        sqlx::query_scalar(include_str!("sql/end_job.sql")).bind(job.0).fetch_optional(&mut *tx).await?;
    match state.as_deref() {
        // Nothing was left to be ended: the job is what its tables say.
        Some("FINALIZING") => settle(tx, job).await,
        Some(state) => {
            tracing::info!(%job, state, "job ended");
            Ok(())
        }
        None => Ok(()),
    }
}

impl Queue {
    /// Ends what is left of every job that is being ended. Returns how many such jobs there are.
    pub async fn end_jobs(&self) -> Result<usize, QueueError> {
        let jobs: Vec<Uuid> = sqlx::query_scalar(include_str!("sql/ending_jobs.sql")).fetch_all(self.pool()).await?;
        for job in &jobs {
            self.end_job(JobId(*job)).await?;
        }
        Ok(jobs.len())
    }

    async fn end_job(&self, job: JobId) -> Result<(), QueueError> {
        self.in_transaction(move |tx| {
            Box::pin(async move {
                lock_tables(tx, job, None).await?;
                end_what_is_left(tx, job).await
            })
        })
        .await
    }

    /// Gives up work whose job is being ended. Without effect on work of any other job.
    pub async fn abandon(&self, claim: &Claim) -> Result<(), QueueError> {
        let job = match claim {
            // Its lease was taken in the statement that ended the job.
            Claim::Plan(..) => None,
            Claim::Partition(id, epoch) => sqlx::query_scalar(include_str!("sql/abandon_partition.sql"))
                .bind(id)
                .bind(epoch)
                .fetch_optional(self.pool())
                .await?
                .map(JobId),
            Claim::Table(job, ..) => match self.release(claim).await {
                Ok(()) => Some(*job),
                Err(QueueError::LeaseLost(_)) => None,
                Err(error) => return Err(error),
            },
        };
        match job {
            Some(job) => self.end_job(job).await,
            None => Ok(()),
        }
    }

    /// Records the keys that a publication is going to write, before it writes the first. Should it come to nothing,
    /// they are removed.
    pub async fn record_publication(&self, task: &TableTask, keys: &[String]) -> Result<(), QueueError> {
        let record = async || -> Result<Option<Uuid>, QueueError> {
            let recorded = sqlx::query_scalar(include_str!("sql/record_publication.sql"))
                .bind(task.job.0)
                .bind(task.table.to_string())
                .bind(task.epoch)
                .bind(sqlx::types::Json(keys))
                .fetch_optional(self.pool());
            Ok(recorded.await?)
        };
        let recorded = self.insist(record).await?;
        recorded.map(drop).ok_or_else(|| QueueError::LeaseLost(claim_of(task)))
    }

    /// Whether nothing can come of a table any more: it has failed, and no manifest may have been written.
    pub async fn came_to_nothing(&self, job: JobId, table: &TableName) -> Result<bool, QueueError> {
        let ask = async || -> Result<Option<bool>, QueueError> {
            let asked = sqlx::query_scalar(include_str!("sql/came_to_nothing.sql"))
                .bind(job.0)
                .bind(table.to_string())
                .fetch_optional(self.pool());
            Ok(asked.await?)
        };
        Ok(self.insist(ask).await?.unwrap_or(false))
    }

    /// Seals a table: to be called when everything is in its place and the manifest is the next thing to be written.
    /// From then on the table ends by being published.
    ///
    /// # Errors
    /// [`QueueError::Ending`] when the job is being ended: the manifest must not be written.
    pub async fn seal(&self, task: &TableTask) -> Result<(), QueueError> {
        // A seal whose answer was lost is there when it is asked for again.
        self.insist(|| self.try_seal(task)).await
    }

    async fn try_seal(&self, task: &TableTask) -> Result<(), QueueError> {
        let (claim, job, name, epoch) = (claim_of(task), task.job, task.table.to_string(), task.epoch);
        self.in_transaction(move |tx| {
            Box::pin(async move {
                let sealed: Option<bool> = sqlx::query_scalar(include_str!("sql/lock_publication.sql"))
                    .bind(job.0)
                    .bind(&name)
                    .bind(epoch)
                    .fetch_optional(&mut *tx)
                    .await?;
                if sealed.ok_or_else(|| QueueError::LeaseLost(claim.clone()))? {
                    return Ok(());
                }
                let sealed: Option<Uuid> = sqlx::query_scalar(include_str!("sql/seal_table.sql"))
                    .bind(job.0)
                    .bind(&name)
                    .fetch_optional(&mut *tx)
                    .await?;
                sealed.map(drop).ok_or(QueueError::Ending(claim))
            })
        })
        .await
    }

    /// Keeps the text of a sealed table's manifest before it is written. Returns what is to be written: this text, or
    /// that of a finalizer before, which may have been of another version or had other settings.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`].
    pub async fn keep_manifest(&self, task: &TableTask, manifest: String) -> Result<String, QueueError> {
        let keep = async || -> Result<Option<String>, QueueError> {
            let kept = sqlx::query_scalar(include_str!("sql/keep_manifest.sql"))
                .bind(task.job.0)
                .bind(task.table.to_string())
                .bind(task.epoch)
                .bind(&manifest)
                .fetch_optional(self.pool());
            Ok(kept.await?)
        };
        let kept = self.insist(keep).await?;
        kept.ok_or_else(|| QueueError::LeaseLost(claim_of(task)))
    }
}

fn claim_of(task: &TableTask) -> Claim {
    Claim::Table(task.job, task.table.clone(), task.epoch)
}
