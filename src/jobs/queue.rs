//! Claiming work and committing it. Each operation is one short statement or transaction, fenced by the lease's epoch:
//! a worker that lost its lease gets [`QueueError::LeaseLost`] and has changed nothing.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use classification::TableName;
use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection, FromRow};
use uuid::Uuid;

use super::model::{JobId, JobKind, PublishedFile, Tenant, Window};
use crate::error::{ErrorCode, Failure};

/// How leases and retries are timed and counted.
#[derive(Debug, Clone, Copy)]
pub struct QueueSettings {
    /// How long a lease holds without a heartbeat.
    pub lease: Duration,
    /// How often leases are renewed.
    pub heartbeat: Duration,
    /// How often late leases are looked for.
    pub sweep: Duration,
    /// Attempts after which a partition, plan or publication has failed.
    pub max_attempts: i32,
    /// Lost workers after which it counts as poison.
    pub max_crashes: i32,
    /// Active jobs of one tenant.
    pub max_active_jobs: i32,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(6),
            heartbeat: Duration::from_secs(2),
            sweep: Duration::from_secs(1),
            max_attempts: 3,
            max_crashes: 3,
            max_active_jobs: 3,
        }
    }
}

/// What a lease is held on, with the epoch that fences every write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Claim {
    /// A job that is being planned.
    Plan(JobId, i64),
    /// A partition that is being extracted.
    Partition(i64, i64),
    /// A table that is being published.
    Table(JobId, TableName, i64),
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(job, epoch) => write!(f, "plan of {job} (epoch {epoch})"),
            Self::Partition(id, epoch) => write!(f, "partition {id} (epoch {epoch})"),
            Self::Table(job, table, epoch) => write!(f, "publication of {table} in {job} (epoch {epoch})"),
        }
    }
}

/// A job to plan.
#[derive(Debug, Clone)]
pub struct PlanTask {
    /// The job.
    pub job: JobId,
    /// What started it.
    pub kind: JobKind,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its time range.
    pub window: Window,
    /// The tables named; `None` for all that are offered.
    pub tables: Option<Vec<String>>,
    /// The lease's epoch.
    pub epoch: i64,
    /// This attempt, from 1.
    pub attempt: i32,
}

/// A partition to extract.
#[derive(Debug, Clone)]
pub struct PartitionTask {
    /// The partition.
    pub id: i64,
    /// Its job.
    pub job: JobId,
    /// Its table.
    pub table: TableName,
    /// Its place among the table's files, from 0.
    pub ordinal: i32,
    /// What to read, as the planner wrote it.
    pub scan: Value,
    /// The table's plan, as the planner wrote it.
    pub plan: Value,
    /// The lease's epoch.
    pub epoch: i64,
    /// This attempt, from 1.
    pub attempt: i32,
}

/// A table to publish.
#[derive(Debug, Clone)]
pub struct TableTask {
    /// Its job.
    pub job: JobId,
    /// The table.
    pub table: TableName,
    /// The directory reserved for its files, without a slash at the end.
    pub directory: String,
    /// Its plan, as the planner wrote it.
    pub plan: Value,
    /// What its partitions have staged, in order.
    pub staged: Vec<StagedPartition>,
    /// The lease's epoch.
    pub epoch: i64,
    /// This attempt, from 1.
    pub attempt: i32,
}

/// What a committed partition has staged.
#[derive(Debug, Clone, FromRow)]
pub struct StagedPartition {
    /// Its place among the table's files, from 0.
    pub ordinal: i32,
    /// What was read.
    pub scan: Value,
    /// Where the object is.
    pub staging_key: String,
    /// Rows.
    pub row_count: i64,
    /// Bytes.
    pub byte_count: i64,
    /// SHA-256 in hex.
    pub sha256: String,
    /// As the store gave it.
    pub etag: String,
}

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
}

/// What planning decided of one table.
#[derive(Debug, Clone)]
pub struct PlannedTable {
    /// The table.
    pub table: TableName,
    /// What happens to it.
    pub fate: TableFate,
}

/// What happens to a planned table.
#[derive(Debug, Clone)]
pub enum TableFate {
    /// It is exported.
    Export {
        /// The directory for its files; `_r2`, `_r3`, … is added where it is taken.
        directory: String,
        /// Kept with the table; the finalizer reads it again.
        plan: Value,
        /// Its partitions, in the order of its files: what to read, and how many rows that may be (more than 0).
        partitions: Vec<(Value, f64)>,
    },
    /// It cannot be exported.
    Fail(Failure),
    /// It does not belong in this export, which is no failure.
    Skip(Failure),
}

/// Why an operation of the queue changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Somebody else holds the lease now, or the work was ended.
    #[error("the lease of {0} was lost")]
    LeaseLost(Claim),
    /// The metadata database failed.
    #[error("metadata database: {0}")]
    Database(#[from] sqlx::Error),
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::LeaseLost(claim) => Failure::new(ErrorCode::Internal, format!("the lease of {claim} was lost")),
            QueueError::Database(database) => super::requests::metadata_failure(database),
        }
    }
}

/// Whether a failed attempt is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// After this pause, unless it was the last attempt.
    After(Duration),
    /// It would fail in the same way.
    Never,
}

/// The queue, as one worker process uses it.
#[derive(Debug, Clone)]
pub struct Queue {
    pool: PgPool,
    worker: Uuid,
    settings: QueueSettings,
    only_job: Option<JobId>,
}

impl Queue {
    /// For a new worker: its id is fresh, so that no lease of an earlier process is taken for its own.
    pub fn new(pool: PgPool, settings: QueueSettings) -> Self {
        Self { pool, worker: Uuid::new_v4(), settings, only_job: None }
    }

    /// Claims work of this job alone.
    pub fn only(mut self, job: JobId) -> Self {
        self.only_job = Some(job);
        self
    }

    /// The worker's id.
    pub fn worker(&self) -> Uuid {
        self.worker
    }

    /// Whether no attempt follows this one, counted from 1.
    pub fn is_last(&self, attempt: i32) -> bool {
        attempt >= self.settings.max_attempts
    }

    /// How leases are timed.
    pub fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Takes a job to plan, with a slot of its tenant.
    pub async fn claim_plan(&self) -> Result<Option<PlanTask>, QueueError> {
        #[derive(FromRow)]
        struct Row {
            id: Uuid,
            kind: String,
            tenant: String,
            window_start: DateTime<Utc>,
            window_end: DateTime<Utc>,
            tables: Option<Vec<String>>,
            lease_epoch: i64,
            attempts: i32,
        }
        let claimed: Result<Option<Row>, sqlx::Error> = sqlx::query_as(include_str!("sql/claim_job.sql"))
            .bind(self.worker)
            .bind(self.settings.lease.as_secs_f64())
            .bind(self.settings.max_active_jobs)
            .bind(self.only_job.map(|job| job.0))
            .fetch_optional(&self.pool)
            .await;
        let row = match claimed {
            // Another replica took the same slot in the same moment; the index decided, and the next look finds another.
            Err(error) if is_unique_violation(&error) => None,
            other => other?,
        };
        row.map(|row| {
            let kind = JobKind::parse(&row.kind).ok_or_else(|| stored_by_newer("export_jobs.kind"))?;
            Ok(PlanTask {
                job: JobId(row.id),
                kind,
                tenant: Tenant::new(row.tenant),
                window: Window { start: row.window_start, end: row.window_end },
                tables: row.tables,
                epoch: row.lease_epoch,
                attempt: row.attempts,
            })
        })
        .transpose()
    }

    /// Takes the next due partition.
    pub async fn claim_partition(&self) -> Result<Option<PartitionTask>, QueueError> {
        #[derive(FromRow)]
        struct Row {
            id: i64,
            job_id: Uuid,
            table_name: String,
            ordinal: i32,
            scan: Value,
            lease_epoch: i64,
            attempts: i32,
            plan: Value,
        }
        let row: Option<Row> = sqlx::query_as(include_str!("sql/claim_partition.sql"))
            .bind(self.worker)
            .bind(self.settings.lease.as_secs_f64())
            .bind(self.only_job.map(|job| job.0))
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| {
            Ok(PartitionTask {
                id: row.id,
                job: JobId(row.job_id),
                table: stored_table(&row.table_name)?,
                ordinal: row.ordinal,
                scan: row.scan,
                plan: row.plan,
                epoch: row.lease_epoch,
                attempt: row.attempts,
            })
        })
        .transpose()
    }

    /// Takes a table whose partitions are all staged.
    pub async fn claim_table(&self) -> Result<Option<TableTask>, QueueError> {
        #[derive(FromRow)]
        struct Row {
            job_id: Uuid,
            table_name: String,
            directory: String,
            plan: Value,
            lease_epoch: i64,
            attempts: i32,
        }
        let row: Option<Row> = sqlx::query_as(include_str!("sql/claim_table.sql"))
            .bind(self.worker)
            .bind(self.settings.lease.as_secs_f64())
            .bind(self.only_job.map(|job| job.0))
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let staged: Vec<StagedPartition> = sqlx::query_as(include_str!("sql/staged_partitions.sql"))
            .bind(row.job_id)
            .bind(&row.table_name)
            .fetch_all(&self.pool)
            .await?;
        Ok(Some(TableTask {
            job: JobId(row.job_id),
            table: stored_table(&row.table_name)?,
            directory: row.directory,
            plan: row.plan,
            staged,
            epoch: row.lease_epoch,
            attempt: row.attempts,
        }))
    }

    /// Commits a plan: tables, partitions and directories, all or none. Tables that cannot be exported have failed
    /// already when this returns, and the others go on.
    pub async fn finish_plan(
        &self,
        task: &PlanTask,
        revision: i64,
        tables: Vec<PlannedTable>,
    ) -> Result<(), QueueError> {
        let (job, epoch) = (task.job, task.epoch);
        self.in_transaction(move |tx| {
            Box::pin(async move {
                let tenant: String = sqlx::query_scalar(include_str!("sql/finish_planning.sql"))
                    .bind(job.0)
                    .bind(epoch)
                    .bind(revision)
                    .fetch_optional(&mut *tx)
                    .await?
                    .ok_or(QueueError::LeaseLost(Claim::Plan(job, epoch)))?;
                let mut fair_key: i64 =
                    sqlx::query_scalar(include_str!("sql/fair_start.sql")).bind(&tenant).fetch_one(&mut *tx).await?;
                for planned in tables {
                    insert_planned(tx, job, planned, &mut fair_key).await?;
                }
                settle(tx, job).await
            })
        })
        .await
    }

    /// Ends or puts back a job whose planning failed as a whole.
    pub async fn fail_plan(&self, task: &PlanTask, failure: &Failure, retry: Retry) -> Result<(), QueueError> {
        let claim = Claim::Plan(task.job, task.epoch);
        match retry {
            Retry::After(pause) if !self.is_last(task.attempt) => self.put_back(&claim, pause, Some(failure)).await,
            _ => {
                let ended: Option<Uuid> = sqlx::query_scalar(include_str!("sql/fail_job.sql"))
                    .bind(task.job.0)
                    .bind(Some(task.epoch))
                    .bind(failure.code.as_str())
                    .bind(&failure.message)
                    .fetch_optional(&self.pool)
                    .await?;
                ended.map(drop).ok_or(QueueError::LeaseLost(claim))
            }
        }
    }

    /// Commits a partition whose object is staged, and counts it, in one transaction.
    pub async fn complete_partition(&self, task: &PartitionTask, staged: StagedObject) -> Result<(), QueueError> {
        let (id, epoch) = (task.id, task.epoch);
        self.in_transaction(move |tx| {
            Box::pin(async move {
                let lost = || QueueError::LeaseLost(Claim::Partition(id, epoch));
                let (job, table): (Uuid, String) = sqlx::query_as(include_str!("sql/complete_partition.sql"))
                    .bind(id)
                    .bind(epoch)
                    .bind(&staged.staging_key)
                    .bind(staged.rows)
                    .bind(staged.bytes)
                    .bind(&staged.sha256)
                    .bind(&staged.etag)
                    .fetch_optional(&mut *tx)
                    .await?
                    .ok_or_else(lost)?;
                let state: String = sqlx::query_scalar(include_str!("sql/count_partition.sql"))
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
            _ => self.end_table(task.job, &task.table, Some(task.id), failure, Some(claim)).await,
        }
    }

    /// Commits a publication whose manifest is written.
    pub async fn complete_table(
        &self,
        task: &TableTask,
        files: Vec<PublishedFile>,
        manifest_url: String,
    ) -> Result<(), QueueError> {
        let (job, table, epoch) = (task.job, task.table.clone(), task.epoch);
        self.in_transaction(move |tx| {
            Box::pin(async move {
                let name = table.to_string();
                let committed: Option<Uuid> = sqlx::query_scalar(include_str!("sql/complete_table.sql"))
                    .bind(job.0)
                    .bind(&name)
                    .bind(epoch)
                    .bind(sqlx::types::Json(&files))
                    .fetch_optional(&mut *tx)
                    .await?;
                if committed.is_none() {
                    return Err(QueueError::LeaseLost(Claim::Table(job, table, epoch)));
                }
                sqlx::query(include_str!("sql/complete_status.sql"))
                    .bind(job.0)
                    .bind(&name)
                    .bind(files.iter().map(|file| file.rows).sum::<i64>())
                    .bind(files.iter().map(|file| file.bytes).sum::<i64>())
                    .bind(&manifest_url)
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
            _ => self.end_table(task.job, &task.table, None, failure, Some(claim)).await,
        }
    }

    /// Gives work back at once because this worker was told to stop; the attempt does not count.
    pub async fn release(&self, claim: &Claim) -> Result<(), QueueError> {
        self.put_back(claim, Duration::ZERO, None).await
    }

    /// With a failure the attempt counts; without one it does not.
    async fn put_back(&self, claim: &Claim, pause: Duration, failure: Option<&Failure>) -> Result<(), QueueError> {
        let (pause, counts) = (pause.as_secs_f64(), failure.is_some());
        let found = match claim {
            Claim::Plan(job, epoch) => {
                sqlx::query(include_str!("sql/put_back_job.sql")).bind(job.0).bind(epoch).bind(pause).bind(counts)
            }
            Claim::Partition(id, epoch) => sqlx::query(include_str!("sql/put_back_partition.sql"))
                .bind(id)
                .bind(epoch)
                .bind(pause)
                .bind(counts)
                .bind(failure.map(|failure| failure.code.as_str()))
                .bind(failure.map(|failure| failure.message.clone())),
            Claim::Table(job, table, epoch) => sqlx::query(include_str!("sql/put_back_table.sql"))
                .bind(job.0)
                .bind(table.to_string())
                .bind(epoch)
                .bind(pause)
                .bind(counts),
        }
        .fetch_optional(&self.pool)
        .await?;
        found.map(drop).ok_or_else(|| QueueError::LeaseLost(claim.clone()))
    }

    /// Ends a table badly, with everything that is open of it. `fence` is the caller's own lease, if it has one.
    pub(super) async fn end_table(
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
        let recorded: Option<String> = sqlx::query_scalar(include_str!("sql/record_attempt.sql"))
            .bind(staging_key)
            .bind(task.id)
            .bind(task.epoch)
            .fetch_optional(&self.pool)
            .await?;
        recorded.map(drop).ok_or(QueueError::LeaseLost(Claim::Partition(task.id, task.epoch)))
    }

    /// Records the upload of an attempt before its first part.
    pub async fn record_upload(&self, task: &PartitionTask, staging_key: &str, upload: &str) -> Result<(), QueueError> {
        let recorded: Option<String> = sqlx::query_scalar(include_str!("sql/record_upload.sql"))
            .bind(staging_key)
            .bind(upload)
            .fetch_optional(&self.pool)
            .await?;
        recorded.map(drop).ok_or(QueueError::LeaseLost(Claim::Partition(task.id, task.epoch)))
    }

    /// Runs `work` in one transaction, committed if it succeeds and rolled back if not: a commit cannot be forgotten.
    pub(super) async fn in_transaction<T, F>(&self, work: F) -> Result<T, QueueError>
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, QueueError>> + Send,
    {
        let mut connection = self.pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        let done = work(&mut transaction).await?;
        transaction.commit().await?;
        Ok(done)
    }
}

async fn insert_planned(
    tx: &mut PgConnection,
    job: JobId,
    planned: PlannedTable,
    fair_key: &mut i64,
) -> Result<(), QueueError> {
    let name = planned.table.to_string();
    let insert =
        |state: &'static str, directory: Option<String>, plan: Option<Value>, total: usize, why: Option<Failure>| {
            sqlx::query(include_str!("sql/insert_table.sql"))
                .bind(job.0)
                .bind(name.clone())
                .bind(state)
                .bind(directory)
                .bind(plan)
                .bind(i32::try_from(total).unwrap_or(i32::MAX))
                .bind(why.as_ref().map(|failure| failure.code.as_str()))
                .bind(why.map(|failure| failure.message))
        };
    match planned.fate {
        TableFate::Export { directory, plan, partitions } => {
            let directory = reserve(tx, job, &name, &directory).await?;
            insert("EXTRACTING", Some(directory), Some(plan), partitions.len(), None).execute(&mut *tx).await?;
            for (ordinal, (scan, weight)) in (0_i32..).zip(partitions) {
                sqlx::query(include_str!("sql/insert_partition.sql"))
                    .bind(job.0)
                    .bind(&name)
                    .bind(ordinal)
                    .bind(scan)
                    .bind(weight)
                    .bind(*fair_key)
                    .execute(&mut *tx)
                    .await?;
                *fair_key += 1;
            }
        }
        TableFate::Skip(why) => {
            insert("SKIPPED", None, None, 0, Some(why)).execute(&mut *tx).await?;
        }
        TableFate::Fail(why) => {
            insert("FAILED", None, None, 0, Some(why.clone())).execute(&mut *tx).await?;
            fail_status(tx, job, &name, &why).await?;
        }
    }
    Ok(())
}

/// The first free one of `directory`, `directory_r2`, `directory_r3`, …
async fn reserve(tx: &mut PgConnection, job: JobId, table: &str, directory: &str) -> Result<String, QueueError> {
    for revision in 1.. {
        let wanted = if revision == 1 { directory.to_owned() } else { format!("{directory}_r{revision}") };
        let reserved: Option<String> = sqlx::query_scalar(include_str!("sql/reserve_directory.sql"))
            .bind(wanted)
            .bind(job.0)
            .bind(table)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(reserved) = reserved {
            return Ok(reserved);
        }
    }
    unreachable!("there is always a next revision")
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
    sqlx::query(include_str!("sql/stop_partitions.sql"))
        .bind(job.0)
        .bind(&name)
        .bind(partition)
        .bind(failure.code.as_str())
        .bind(&failure.message)
        .execute(&mut *tx)
        .await?;
    let ended: Option<Uuid> = sqlx::query_scalar(include_str!("sql/fail_table.sql"))
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

async fn fail_status(tx: &mut PgConnection, job: JobId, table: &str, failure: &Failure) -> Result<(), QueueError> {
    sqlx::query(include_str!("sql/fail_status.sql"))
        .bind(job.0)
        .bind(table)
        .bind(failure.code.as_str())
        .bind(&failure.message)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Moves the job on. Its row is locked first, so of two tables that end at once the later one sees the earlier.
pub(super) async fn settle(tx: &mut PgConnection, job: JobId) -> Result<(), QueueError> {
    sqlx::query("SELECT 1 FROM export_jobs WHERE id = $1 FOR UPDATE").bind(job.0).execute(&mut *tx).await?;
    let state: Option<String> =
        sqlx::query_scalar(include_str!("sql/settle_job.sql")).bind(job.0).fetch_optional(&mut *tx).await?;
    if let Some(state) = state {
        tracing::debug!(%job, %state, "job settled");
    }
    Ok(())
}

fn stored_table(name: &str) -> Result<TableName, QueueError> {
    name.parse().map_err(|_| stored_by_newer("table_name"))
}

fn stored_by_newer(what: &'static str) -> QueueError {
    QueueError::Database(sqlx::Error::Protocol(format!("{what} holds something this version does not know")))
}

fn is_unique_violation(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.is_unique_violation())
}
