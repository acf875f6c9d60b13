//! Jobs that are worked on and do not move: which they are, how one is cleared, and how its range is started again.
//!
//! Stalled is not a state but a question: whether nothing of a job has moved for so long. Clearing asks it again under
//! the locks that workers commit under, so a job that has moved or ended meanwhile is not cleared. A worker of a cleared
//! job is not waited for: its lease is taken.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use classification::TableName;
use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use super::ending::{end_what_is_left, lock_tables};
use super::failure::metadata_failure;
use super::model::{JobId, JobState, Tenant};
use super::requests::{Requests, check_offered};
use super::transaction::begin_transaction;
use crate::error::{ErrorCode, Failure};

/// A job of which nothing moves.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StalledJob {
    /// The job.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: String,
    /// `on_demand` or `scheduled`.
    pub kind: String,
    /// Its state, as stored.
    pub state: String,
    /// Who asked for it.
    pub requested_by: String,
    /// First instant of its range.
    pub window_start: DateTime<Utc>,
    /// First instant after its range.
    pub window_end: DateTime<Utc>,
    /// When anything of it last moved.
    pub since: DateTime<Utc>,
    /// The database's clock when this was read.
    pub read_at: DateTime<Utc>,
    /// When a worker of it was last heard of.
    pub last_heartbeat: Option<DateTime<Utc>>,
    /// That worker.
    pub worker: Option<Uuid>,
    /// Most attempts at one piece of its work.
    pub attempts: i32,
    /// Workers that were lost with it, all together.
    pub crashes: i64,
    /// When the reaper last took work of it back from a lost worker.
    pub reaped_at: Option<DateTime<Utc>>,
    /// Why the last failed attempt failed.
    pub error_code: Option<String>,
    /// The same, for the reader.
    pub error_message: Option<String>,
    /// Its tables that are open.
    pub tables: Vec<String>,
    /// Pieces of work that somebody holds.
    pub running: i64,
    /// Pieces of work that wait for somebody.
    pub waiting: i64,
}

impl StalledJob {
    /// What the reaper has done with it.
    pub fn reaper(&self) -> String {
        match (self.reaped_at, self.running) {
            (Some(at), _) => format!(
                "took work back from lost workers, {} times in all, last at {}",
                self.crashes,
                at.format("%Y-%m-%dT%H:%M:%SZ")
            ),
            (None, 0) => "nothing: nobody holds any of it, and no worker has taken it up".to_owned(),
            (None, _) => "nothing: its worker is alive".to_owned(),
        }
    }
}

/// What clearing a job has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clearing {
    /// Whose it is.
    pub tenant: Tenant,
    /// Where it was.
    pub before: JobState,
    /// Whether it had been cleared before.
    pub already: bool,
}

impl Requests {
    /// The jobs of a tenant, or of all, of which nothing has moved for `stall`; the longest first.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn stalled(&self, tenant: Option<&Tenant>, stall: Duration) -> Result<Vec<StalledJob>, Failure> {
        sqlx::query_as(include_str!("sql/stalled.sql"))
            .bind(tenant.map(Tenant::as_str))
            .bind(stall.as_secs_f64())
            .fetch_all(self.pool())
            .await
            .map_err(metadata_failure)
    }
}

/// Begins to end a stalled job within a transaction; `None` for an id that is unknown or another tenant's. One that was
/// cleared before stays as it is.
///
/// # Errors
/// `NOT_STALLED` when it has ended, waits for a slot, or moves and `force` is not given; `METADATA_UNAVAILABLE`.
pub async fn clear(
    tx: &mut PgConnection,
    tenant: Option<&Tenant>,
    job: JobId,
    stall: Duration,
    force: bool,
    by: &str,
) -> Result<Option<Clearing>, Failure> {
    #[derive(sqlx::FromRow)]
    struct Found {
        tenant: String,
        state: String,
        error_code: Option<String>,
        since: DateTime<Utc>,
        stalled: bool,
        idle_seconds: f64,
    }
    lock_tables(tx, job, tenant).await.map_err(metadata_failure)?;
    let found: Option<Found> = sqlx::query_as(include_str!("sql/lock_to_clear.sql"))
        .bind(job.0)
        .bind(tenant.map(Tenant::as_str))
        .bind(stall.as_secs_f64())
        .fetch_optional(&mut *tx)
        .await
        .map_err(metadata_failure)?;
    let Some(found) = found else { return Ok(None) };
    let before = JobState::parse(&found.state)
        .ok_or_else(|| Failure::new(ErrorCode::Internal, "the job was stored by a newer version of the exporter"))?;
    let cleared = found.error_code.as_deref() == Some(ErrorCode::Stalled.as_str());
    let clearing = |already| Clearing { tenant: Tenant::new(&found.tenant), before, already };
    let refused = |why: String| Err(Failure::new(ErrorCode::NotStalled, why));
    match before {
        JobState::Failed | JobState::Cancelling if cleared => return Ok(Some(clearing(true))),
        state if state.is_final() => return refused(format!("request {job} has ended: it is {}", state.as_str())),
        JobState::Queued => {
            return refused(format!("request {job} waits for a slot of its tenant; cancelRequest ends it"));
        }
        _ if !found.stalled && !force => {
            return refused(format!(
                "request {job} is not stalled: something of it moved {:.0} s ago, at {}; cancel it, or insist with force",
                found.idle_seconds,
                found.since.format("%Y-%m-%dT%H:%M:%SZ")
            ));
        }
        _ => {}
    }
    let why = format!("cleared by {by}: nothing of it had moved for {:.0} s", found.idle_seconds);
    sqlx::query(include_str!("sql/clear_job.sql"))
        .bind(job.0)
        .bind(why)
        .execute(&mut *tx)
        .await
        .map_err(metadata_failure)?;
    sqlx::query(include_str!("sql/take_sealed.sql")).bind(job.0).execute(&mut *tx).await.map_err(metadata_failure)?;
    end_what_is_left(tx, job).await?;
    Ok(Some(clearing(false)))
}

/// Starts the range of a cleared job again within a transaction, once however often this is called. Returns the new
/// job's id, and whether it was there already.
///
/// # Errors
/// `TABLE_NOT_OFFERED`, `TABLE_WITHOUT_TIME`, `NO_TABLES` when a table of the job may not be exported any more;
/// `NOT_STALLED` for a day of the schedule; `METADATA_UNAVAILABLE`.
pub async fn resubmit(tx: &mut PgConnection, tenant: &Tenant, job: JobId, by: &str) -> Result<(JobId, bool), Failure> {
    let existing: Option<Uuid> = sqlx::query_scalar(include_str!("sql/resubmitted.sql"))
        .bind(job.0)
        .fetch_optional(&mut *tx)
        .await
        .map_err(metadata_failure)?;
    if let Some(existing) = existing {
        return Ok((JobId(existing), true));
    }
    let kind: String = sqlx::query_scalar("SELECT kind FROM export_jobs WHERE id = $1")
        .bind(job.0)
        .fetch_one(&mut *tx)
        .await
        .map_err(metadata_failure)?;
    if kind != "on_demand" {
        let why = format!("request {job} is a day of the schedule, which is not resubmitted: run its day again");
        return Err(Failure::new(ErrorCode::NotStalled, why));
    }
    let tables: Vec<String> = sqlx::query_scalar(include_str!("sql/tables_to_resubmit.sql"))
        .bind(job.0)
        .fetch_one(&mut *tx)
        .await
        .map_err(metadata_failure)?;
    let named: BTreeSet<TableName> = tables.iter().filter_map(|name| name.parse().ok()).collect();
    check_offered(tx, tenant, (!named.is_empty()).then_some(&named)).await.map_err(|failure| {
        let why = format!("request {job} was not cleared, as it cannot be started again: {}", failure.message);
        Failure::new(failure.code, why)
    })?;
    let id = JobId::new();
    sqlx::query(include_str!("sql/resubmit.sql"))
        .bind(id.0)
        .bind(job.0)
        .bind(by)
        .execute(tx)
        .await
        .map_err(metadata_failure)?;
    Ok((id, false))
}

/// Begins a transaction for [`clear`] and [`resubmit`], and for what its caller writes beside them.
pub async fn begin(pool: &PgPool) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, Failure> {
    begin_transaction(pool).await.map_err(metadata_failure)
}
