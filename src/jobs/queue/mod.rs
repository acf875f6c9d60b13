//! The queue as a worker uses it. Each operation is one short statement or transaction, fenced by the lease's epoch: a
//! worker that lost its lease gets [`QueueError::LeaseLost`] and has changed nothing.

mod claim;
mod commit;
mod plan;
mod standby;

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use classification::TableName;
use futures::future::BoxFuture;
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use super::model::JobId;
use super::transaction::begin_transaction;
use crate::error::{ErrorCode, Failure};

pub use claim::{PartitionTask, PlanTask, StagedPartition, TableTask};
pub use commit::StagedObject;
pub(super) use commit::{fail_status, settle};
pub use plan::{PlannedTable, TableFate};

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
    /// How long the visible files of a restated day stay what they were: at least as long as links live.
    pub restate_grace: Duration,
    /// Connections to the warehouse that all replicas together read over, a partition or a snapshot each; 0: any number.
    pub max_warehouse_connections: i32,
    /// How long a snapshot of the warehouse is held for the partitions of one table at most; zero: none is.
    pub snapshot_max: Duration,
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
            restate_grace: Duration::from_secs(86_400),
            max_warehouse_connections: 0,
            snapshot_max: Duration::from_secs(900),
        }
    }
}

impl QueueSettings {
    /// For how long work under a lease may go on after the last renewal was asked for: a second less than the lease holds,
    /// for clocks and threads that are late.
    pub fn safe(&self) -> Duration {
        self.lease.saturating_sub(Duration::from_secs(1))
    }

    /// How long a renewal may take before its connection is given up: two fit into a lease.
    pub fn patience(&self) -> Duration {
        self.safe().saturating_sub(self.heartbeat) / 2
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

/// How long a write waits before it is tried again.
const INSIST: Duration = Duration::from_millis(200);

/// Why an operation of the queue changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Somebody else holds the lease now, or the work was ended.
    #[error("the lease of {0} was lost")]
    LeaseLost(Claim),
    /// The work is still the caller's, but its job is being ended.
    #[error("{0} is not done, because its job is being ended")]
    Ending(Claim),
    /// The metadata database failed.
    #[error("metadata database: {0}")]
    Database(#[from] sqlx::Error),
}

impl QueueError {
    /// Whether the database was away, ended, started or short of something in this moment, so that the same statement
    /// may do in the next: SQLSTATE classes 08, 40, 53 and 57, and connections that cannot be had. A balancer that takes
    /// one and hangs up has, to the driver, given a wrong answer to the question for TLS.
    fn passes(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|state| ["08", "40", "53", "57"].iter().any(|class| state.starts_with(class)))
            }
            Self::Database(error) => {
                use sqlx::Error::{Io, PoolTimedOut, Protocol, Tls};
                matches!(error, Io(_) | PoolTimedOut | Protocol(_) | Tls(_))
            }
            Self::LeaseLost(_) | Self::Ending(_) => false,
        }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::LeaseLost(claim) => Failure::new(ErrorCode::Internal, format!("the lease of {claim} was lost")),
            QueueError::Ending(claim) => {
                Failure::new(ErrorCode::Cancelled, format!("{claim} was given up: the job is being ended"))
            }
            QueueError::Database(database) => super::failure::metadata_failure(database),
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

    /// The only job that work is claimed of, if it is one.
    pub fn only_job(&self) -> Option<JobId> {
        self.only_job
    }

    /// Whether work of every job is claimed.
    pub fn works_all(&self) -> bool {
        self.only_job.is_none()
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

    pub(in crate::jobs) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Repeats a worker's write while the database is away, for as long as the lease that fences it may hold: work that is
    /// done is not thrown away for an outage, nor its worker taken for dead. Where the write was done and only its answer
    /// lost, the repetition finds the lease gone.
    pub(in crate::jobs) async fn insist<T, W>(&self, write: impl Fn() -> W) -> Result<T, QueueError>
    where
        W: Future<Output = Result<T, QueueError>>,
    {
        let begun = Instant::now();
        loop {
            match write().await {
                Err(error) if error.passes() && begun.elapsed() < self.settings.lease => {
                    tracing::warn!("the metadata database is away; what was done is written down when it is back");
                    tokio::time::sleep(INSIST.mul_f64(rand::random_range(0.75..1.25))).await;
                }
                done => return done,
            }
        }
    }

    /// Runs `work` in one transaction, committed if it succeeds and rolled back if not: a commit cannot be forgotten.
    pub(in crate::jobs) async fn in_transaction<T, F>(&self, work: F) -> Result<T, QueueError>
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, QueueError>> + Send,
    {
        let mut transaction = begin_transaction(&self.pool).await?;
        match work(&mut transaction).await {
            Ok(done) => {
                transaction.commit().await?;
                Ok(done)
            }
            Err(error) => {
                // Now, not when the connection is used again: whoever comes next skips what is still locked.
                let _ = transaction.rollback().await;
                Err(error)
            }
        }
    }
}
