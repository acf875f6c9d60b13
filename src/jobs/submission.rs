//! A request on its way into the queue: into a place of its own, into the job that its key names already, or into one
//! that does the same at this moment.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::failure::metadata_failure;
use super::format::{Compression, ExportFormat};
use super::model::{JobId, Window};
use super::requests::{NewRequest, Requests};
use super::transaction::begin_transaction;
use crate::error::{ErrorCode, Failure};

/// How many requests of one tenant may wait for a slot. Each has a place in a unique index, so no race can add one.
const MOST_WAITING: i32 = 100;
/// How often another place is tried when somebody else took the same.
const TRIES: usize = 50;

/// A request that is sound.
pub(super) struct Submission<'r> {
    pub(super) request: &'r NewRequest,
    pub(super) window: Window,
    /// The tables named, each once.
    pub(super) tables: Option<Vec<String>>,
    pub(super) body_hash: Vec<u8>,
}

impl Requests {
    /// Queues a request, or finds the job that it is.
    pub(super) async fn insert_or_join(&self, submission: &Submission<'_>) -> Result<JobId, Failure> {
        match self.joins() {
            None => {
                let mut connection = self.pool().acquire().await.map_err(metadata_failure)?;
                insert(&mut connection, submission).await
            }
            Some(stall) => {
                let mut transaction = begin_transaction(self.pool()).await.map_err(metadata_failure)?;
                let job = join_or_insert(&mut transaction, submission, stall).await?;
                transaction.commit().await.map_err(metadata_failure)?;
                Ok(job)
            }
        }
    }
}

/// Under a lock that identical requests share, so that of several at once one is queued and the others join it.
async fn join_or_insert(tx: &mut PgConnection, submission: &Submission<'_>, stall: Duration) -> Result<JobId, Failure> {
    let Submission { request, body_hash, .. } = submission;
    let tenant = request.tenant.as_str();
    sqlx::query(include_str!("sql/lock_submission.sql"))
        .bind(tenant)
        .bind(&request.idempotency_key)
        .bind(body_hash)
        .execute(&mut *tx)
        .await
        .map_err(metadata_failure)?;
    if let Some(known) = submitted_before(tx, request, body_hash).await? {
        return Ok(known);
    }
    let running: Option<Uuid> = sqlx::query_scalar(include_str!("sql/joinable.sql"))
        .bind(tenant)
        .bind(body_hash)
        .bind(stall.as_secs_f64())
        .fetch_optional(&mut *tx)
        .await
        .map_err(metadata_failure)?;
    let Some(running) = running else { return insert(tx, submission).await };
    if let Some(key) = &request.idempotency_key {
        sqlx::query(include_str!("sql/join_job.sql"))
            .bind(tenant)
            .bind(key)
            .bind(body_hash)
            .bind(running)
            .execute(&mut *tx)
            .await
            .map_err(metadata_failure)?;
    }
    tracing::info!(job = %running, "a request has joined an identical one");
    Ok(JobId(running))
}

async fn insert(connection: &mut PgConnection, submission: &Submission<'_>) -> Result<JobId, Failure> {
    let Submission { request, window, tables, body_hash } = submission;
    let id = JobId::new();
    for _ in 0..TRIES {
        let inserted: Option<Uuid> = sqlx::query_scalar(include_str!("sql/submit.sql"))
            .bind(id.0)
            .bind(request.tenant.as_str())
            .bind(&request.requested_by)
            .bind(window.start)
            .bind(window.end)
            .bind(tables)
            .bind(request.files.format.map(ExportFormat::as_str))
            .bind(request.files.compression.map(Compression::as_str))
            .bind(&request.idempotency_key)
            .bind(body_hash)
            .bind(MOST_WAITING)
            .fetch_optional(&mut *connection)
            .await
            .map_err(metadata_failure)?;
        if inserted.is_some() {
            return Ok(id);
        }
        // Somebody submitted the same key between our look and our insert; theirs is committed and visible now.
        if let Some(known) = submitted_before(connection, request, body_hash).await? {
            return Ok(known);
        }
        let waiting: i64 = sqlx::query_scalar(include_str!("sql/waiting_requests.sql"))
            .bind(request.tenant.as_str())
            .bind(i64::from(MOST_WAITING))
            .fetch_one(&mut *connection)
            .await
            .map_err(metadata_failure)?;
        if waiting >= i64::from(MOST_WAITING) {
            break;
        }
    }
    Err(Failure::new(
        ErrorCode::TooManyRequests,
        format!(
            "{MOST_WAITING} requests of tenant '{}' are waiting already; try again when some have ended",
            request.tenant.as_str()
        ),
    ))
}

/// The job that the tenant has submitted or joined with the request's key, if it has one.
pub(super) async fn submitted_before(
    connection: &mut PgConnection,
    request: &NewRequest,
    body_hash: &[u8],
) -> Result<Option<JobId>, Failure> {
    let Some(key) = &request.idempotency_key else { return Ok(None) };
    let known: Option<(Uuid, Vec<u8>)> = sqlx::query_as(include_str!("sql/submitted_before.sql"))
        .bind(request.tenant.as_str())
        .bind(key)
        .fetch_optional(connection)
        .await
        .map_err(metadata_failure)?;
    match known {
        Some((_, hash)) if hash != body_hash => Err(Failure::new(
            ErrorCode::IdempotencyKeyReused,
            "this idempotencyKey was used before with other arguments; choose a new one",
        )),
        known => Ok(known.map(|(id, _)| JobId(id))),
    }
}
