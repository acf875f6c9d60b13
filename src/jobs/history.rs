//! History: what ended long ago moves out of the tables that the queue works on. What its requester may ask about it is
//! answered as before; what was exported and downloaded stays where operators read it.
//!
//! Nothing is forgotten that keeps a promise: directories stay reserved, idempotency keys stay known, and a request
//! stays as long as anything of it is in the bucket or a link to it could work.

use std::time::Duration;

use uuid::Uuid;

use super::failure::metadata_failure;
use super::model::{JobId, JobView, Tenant};
use super::queue::{Queue, QueueError};
use super::requests::Requests;
use super::view::{JobRow, TableRow};
use crate::error::{ErrorCode, Failure};

/// As many are counted at most.
const MOST_COUNTED: i64 = 1_000_000;

impl Queue {
    /// Archives some of the requests that ended longer ago than `history`. Returns how many: 0 when there are none left.
    /// Replicas may do it at once.
    pub async fn archive(&self, history: Duration) -> Result<usize, QueueError> {
        self.in_transaction(move |tx| {
            Box::pin(async move {
                let old: Vec<Uuid> = sqlx::query_scalar(include_str!("sql/lock_to_archive.sql"))
                    .bind(history.as_secs_f64())
                    .fetch_all(&mut *tx)
                    .await?;
                let done: Vec<Uuid> =
                    sqlx::query_scalar(include_str!("sql/archive_jobs.sql")).bind(old).fetch_all(&mut *tx).await?;
                Ok(done.len())
            })
        })
        .await
    }
}

impl Requests {
    /// How many requests are old enough to be archived, those included that must wait for links or files.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn to_archive(&self, history: Duration) -> Result<i64, Failure> {
        sqlx::query_scalar(include_str!("sql/to_archive.sql"))
            .bind(history.as_secs_f64())
            .bind(MOST_COUNTED)
            .fetch_one(self.pool())
            .await
            .map_err(metadata_failure)
    }

    /// One archived request of a tenant.
    pub(super) async fn find_archived(&self, tenant: &Tenant, id: JobId) -> Result<Option<JobView>, Failure> {
        let job: Option<JobRow> = sqlx::query_as(include_str!("sql/find_archived.sql"))
            .bind(id.0)
            .bind(tenant.as_str())
            .fetch_optional(self.pool())
            .await
            .map_err(metadata_failure)?;
        let Some(job) = job else { return Ok(None) };
        let tables: Vec<TableRow> = sqlx::query_as(include_str!("sql/tables_of_archived.sql"))
            .bind(id.0)
            .fetch_all(self.pool())
            .await
            .map_err(metadata_failure)?;
        let broken = || Failure::new(ErrorCode::Internal, "an archived request cannot be read by this version");
        job.into_view(tables).map(Some).ok_or_else(broken)
    }
}
