//! Committing, giving back and ending work, each under its fence, and moving the job on after it.

use std::time::Duration;

use classification::TableName;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::{Claim, PartitionTask, PlanTask, Queue, QueueError, Retry, TableTask};
use crate::error::Failure;
use crate::jobs::model::{JobId, PublishedFile};
use crate::jobs::outbox;
use crate::jobs::report::FileReport;

/// What a worker has staged and wants to commit.
#[derive(Debug, Clone)]
pub struct StagedObject {
    /// Where the object is.
    pub staging_key: String,
    /// Rows.
    pub rows: i64,
    /// Bytes.
    pub bytes: i64,
    /// SHA-256 in hex.
    pub sha256: String,
    /// As the store gave it.
    pub etag: String,
    /// The snapshot that it was read under, if it was one that others read too.
    pub snapshot: Option<Uuid>,
    /// What was done to its values.
    pub report: FileReport,
}

impl Queue {
    /// Ends or puts back a job whose planning failed as a whole.
    pub async fn fail_plan(&self, task: &PlanTask, failure: &Failure, retry: Retry) -> Result<(), QueueError> {
        let claim = Claim::Plan(task.job, task.epoch);
        match retry {
            Retry::After(pause) if !self.is_last(task.attempt) => self.put_back(&claim, pause, Some(failure)).await,
            _ => {
                let end = async || -> Result<Option<Uuid>, QueueError> {
                    let ended = sqlx::query_scalar(include_str!("../sql/fail_job.sql"))
                        .bind(task.job.0)
                        .bind(Some(task.epoch))
                        .bind(failure.code.as_str())
                        .bind(&failure.message)
                        .fetch_optional(&self.pool);
                    Ok(ended.await?)
                };
                self.insist(end).await?.map(drop).ok_or(QueueError::LeaseLost(claim))
            }
        }
    }

    /// Commits a partition whose object is staged, and counts it, in one transaction.
    pub async fn complete_partition(&self, task: &PartitionTask, staged: StagedObject) -> Result<(), QueueError> {
        self.insist(|| self.commit_partition(task, staged.clone())).await
    }

    async fn commit_partition(&self, task: &PartitionTask, staged: StagedObject) -> Result<(), QueueError> {
        let (id, epoch) = (task.id, task.epoch);
        self.in_transaction(move |tx| {
            Box::pin(async move {
                let lost = || QueueError::LeaseLost(Claim::Partition(id, epoch));
                let (job, table): (Uuid, String) = sqlx::query_as(include_str!("../sql/complete_partition.sql"))
                    .bind(id)
                    .bind(epoch)
                    .bind(&staged.staging_key)
                    .bind(staged.rows)
                    .bind(staged.bytes)
                    .bind(&staged.sha256)
                    .bind(&staged.etag)
                    .bind(sqlx::types::Json(&staged.report))
                    .bind(staged.snapshot)
                    .fetch_optional(&mut *tx)
                    .await?
                    .ok_or_else(lost)?;
                let state: String = sqlx::query_scalar(include_str!("../sql/count_partition.sql"))
                    .bind(job)
                    .bind(&table)
                    .fetch_optional(&mut *tx)
                    .await?
                    .ok_or_else(lost)?;
                if state == "READY" { settle(tx, JobId(job)).await } else { Ok(()) }
            })
        })
        .await
    }

    /// Puts a failed partition back, or ends its table if that was the last attempt.
    pub async fn fail_partition(
        &self,
        task: &PartitionTask,
        failure: &Failure,
        retry: Retry,
    ) -> Result<(), QueueError> {
        let claim = Claim::Partition(task.id, task.epoch);
        match retry {
            Retry::After(pause) if !self.is_last(task.attempt) => self.put_back(&claim, pause, Some(failure)).await,
            _ => {
                self.insist(|| self.end_table(task.job, &task.table, Some(task.id), failure, Some(claim.clone()))).await
            }
        }
    }

    /// Commits a publication whose manifest is written.
    pub async fn complete_table(
        &self,
        task: &TableTask,
        files: Vec<PublishedFile>,
        manifest_url: String,
    ) -> Result<(), QueueError> {
        self.insist(|| self.commit_table(task, files.clone(), manifest_url.clone())).await
    }

    async fn commit_table(
        &self,
        task: &TableTask,
        files: Vec<PublishedFile>,
        manifest_url: String,
    ) -> Result<(), QueueError> {
        let (job, table, epoch) = (task.job, task.table.clone(), task.epoch);
        let grace = self.settings.restate_grace.as_secs_f64();
        self.in_transaction(move |tx| {
            Box::pin(async move {
                let name = table.to_string();
                let committed: Option<Uuid> = sqlx::query_scalar(include_str!("../sql/complete_table.sql"))
                    .bind(job.0)
                    .bind(&name)
                    .bind(epoch)
                    .bind(sqlx::types::Json(&files))
                    .fetch_optional(&mut *tx)
                    .await?;
                if committed.is_none() {
                    return Err(QueueError::LeaseLost(Claim::Table(job, table, epoch)));
                }
                sqlx::query(include_str!("../sql/complete_status.sql"))
                    .bind(job.0)
                    .bind(&name)
                    .bind(files.iter().map(|file| file.rows).sum::<i64>())
                    .bind(files.iter().map(|file| file.bytes).sum::<i64>())
                    .bind(&manifest_url)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query(include_str!("../sql/days/owe_swap.sql"))
                    .bind(job.0)
                    .bind(&name)
                    .bind(grace)
                    .execute(&mut *tx)
                    .await?;
                settle(tx, job).await
            })
        })
        .await
    }

    /// Puts a failed publication back, or ends the table if that was the last attempt.
    pub async fn fail_publication(&self, task: &TableTask, failure: &Failure, retry: Retry) -> Result<(), QueueError> {
        let claim = Claim::Table(task.job, task.table.clone(), task.epoch);
        match retry {
            Retry::After(pause) if !self.is_last(task.attempt) => self.put_back(&claim, pause, Some(failure)).await,
            _ => self.insist(|| self.end_table(task.job, &task.table, None, failure, Some(claim.clone()))).await,
        }
    }

    /// Gives work back at once because this worker was told to stop; the attempt does not count.
    pub async fn release(&self, claim: &Claim) -> Result<(), QueueError> {
        self.put_back(claim, Duration::ZERO, None).await
    }

    /// With a failure the attempt counts; without one it does not.
    async fn put_back(&self, claim: &Claim, pause: Duration, failure: Option<&Failure>) -> Result<(), QueueError> {
        self.insist(|| self.try_put_back(claim, pause, failure)).await
    }

    async fn try_put_back(&self, claim: &Claim, pause: Duration, failure: Option<&Failure>) -> Result<(), QueueError> {
        let (pause, counts) = (pause.as_secs_f64(), failure.is_some());
        let found = match claim {
            Claim::Plan(job, epoch) => sqlx::query(include_str!("../sql/put_back_job.sql"))
                .bind(job.0)
                .bind(epoch)
                .bind(pause)
                .bind(counts)
                .bind(failure.map(|failure| failure.code.as_str()))
                .bind(failure.map(|failure| failure.message.clone())),
            Claim::Partition(id, epoch) => sqlx::query(include_str!("../sql/put_back_partition.sql"))
                .bind(id)
                .bind(epoch)
                .bind(pause)
                .bind(counts)
                .bind(failure.map(|failure| failure.code.as_str()))
                .bind(failure.map(|failure| failure.message.clone())),
            Claim::Table(job, table, epoch) => sqlx::query(include_str!("../sql/put_back_table.sql"))
                .bind(job.0)
                .bind(table.to_string())
                .bind(epoch)
                .bind(pause)
                .bind(counts)
                .bind(failure.map(|failure| failure.code.as_str()))
                .bind(failure.map(|failure| failure.message.clone())),
        }
        .fetch_optional(&self.pool)
        .await?;
        found.map(drop).ok_or_else(|| QueueError::LeaseLost(claim.clone()))
    }

    /// Ends a table badly, with everything that is open of it. `fence` is the caller's own lease, if it has one. What is
    /// open is locked before the fence is looked at, all of it in one order: of two partitions that end their table at
    /// once the second finds its lease lost.
    pub(in crate::jobs) async fn end_table(
        &self,
        job: JobId,
        table: &TableName,
        partition: Option<i64>,
        failure: &Failure,
        fence: Option<Claim>,
    ) -> Result<(), QueueError> {
        let (table, failure) = (table.clone(), failure.clone());
        self.in_transaction(move |tx| {
            Box::pin(async move {
                sqlx::query(include_str!("../sql/lock_open_partitions.sql"))
                    .bind(job.0)
                    .bind(table.to_string())
                    .execute(&mut *tx)
                    .await?;
                if let Some(claim) = fence {
                    check_fence(tx, &claim).await?;
                }
                end_table_in(tx, job, &table, partition, &failure).await?;
                settle(tx, job).await
            })
        })
        .await
    }

    /// Records an attempt's object before anything is written to it.
    pub async fn record_attempt(&self, task: &PartitionTask, staging_key: &str) -> Result<(), QueueError> {
        let record = async || -> Result<Option<String>, QueueError> {
            let recorded = sqlx::query_scalar(include_str!("../sql/record_attempt.sql"))
                .bind(staging_key)
                .bind(task.id)
                .bind(task.epoch)
                .fetch_optional(&self.pool);
            Ok(recorded.await?)
        };
        let recorded = self.insist(record).await?;
        recorded.map(drop).ok_or(QueueError::LeaseLost(Claim::Partition(task.id, task.epoch)))
    }

    /// Records the upload of an attempt before its first part.
    pub async fn record_upload(&self, task: &PartitionTask, staging_key: &str, upload: &str) -> Result<(), QueueError> {
        let record = async || -> Result<Option<String>, QueueError> {
            let recorded = sqlx::query_scalar(include_str!("../sql/record_upload.sql"))
                .bind(staging_key)
                .bind(upload)
                .fetch_optional(&self.pool);
            Ok(recorded.await?)
        };
        let recorded = self.insist(record).await?;
        recorded.map(drop).ok_or(QueueError::LeaseLost(Claim::Partition(task.id, task.epoch)))
    }
}

/// Locks what the claim is on and makes sure that it is still the caller's.
async fn check_fence(tx: &mut PgConnection, claim: &Claim) -> Result<(), QueueError> {
    let held = match claim {
        Claim::Plan(job, epoch) => sqlx::query(
            "SELECT 1 FROM export_jobs WHERE id = $1 AND lease_epoch = $2 AND state = 'PLANNING' AND lease_until IS NOT NULL FOR UPDATE",
        )
        .bind(job.0)
        .bind(epoch),
        Claim::Partition(id, epoch) => sqlx::query(
            "SELECT 1 FROM export_job_partitions WHERE id = $1 AND lease_epoch = $2 AND state = 'RUNNING' FOR UPDATE",
        )
        .bind(id)
        .bind(epoch),
        Claim::Table(job, table, epoch) => sqlx::query(
            "SELECT 1 FROM export_job_tables
             WHERE job_id = $1 AND table_name = $2 AND lease_epoch = $3 AND state = 'FINALIZING' FOR UPDATE",
        )
        .bind(job.0)
        .bind(table.to_string())
        .bind(epoch),
    }
    .fetch_optional(&mut *tx)
    .await?;
    held.map(drop).ok_or_else(|| QueueError::LeaseLost(claim.clone()))
}

async fn end_table_in(
    tx: &mut PgConnection,
    job: JobId,
    table: &TableName,
    partition: Option<i64>,
    failure: &Failure,
) -> Result<(), QueueError> {
    let name = table.to_string();
    sqlx::query(include_str!("../sql/stop_partitions.sql"))
        .bind(job.0)
        .bind(&name)
        .bind(partition)
        .bind(failure.code.as_str())
        .bind(&failure.message)
        .execute(&mut *tx)
        .await?;
    let ended: Option<Uuid> = sqlx::query_scalar(include_str!("../sql/fail_table.sql"))
        .bind(job.0)
        .bind(&name)
        .bind(failure.code.as_str())
        .bind(&failure.message)
        .fetch_optional(&mut *tx)
        .await?;
    if ended.is_some() {
        fail_status(tx, job, &name, failure).await?;
    }
    Ok(())
}

pub(in crate::jobs) async fn fail_status(
    tx: &mut PgConnection,
    job: JobId,
    table: &str,
    failure: &Failure,
) -> Result<(), QueueError> {
    let noted = sqlx::query(include_str!("../sql/fail_status.sql"))
        .bind(job.0)
        .bind(table)
        .bind(failure.code.as_str())
        .bind(&failure.message)
        .execute(&mut *tx)
        .await?;
    if noted.rows_affected() > 0 {
        outbox::tell_failed(tx, job, table, failure).await?;
    }
    Ok(())
}

/// Moves the job on. Its row is locked first, so of two tables that end at once the later one sees the earlier.
pub(in crate::jobs) async fn settle(tx: &mut PgConnection, job: JobId) -> Result<(), QueueError> {
    sqlx::query("SELECT 1 FROM export_jobs WHERE id = $1 FOR UPDATE").bind(job.0).execute(&mut *tx).await?;
    let state: Option<String> =
        sqlx::query_scalar(include_str!("../sql/settle_job.sql")).bind(job.0).fetch_optional(&mut *tx).await?;
    if let Some(state) = state {
        tracing::debug!(%job, %state, "job settled");
    }
    Ok(())
}
