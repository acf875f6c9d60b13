//! Cancelling a request.

use std::time::Duration;

use super::ending::{end_what_is_left, lock_tables};
use super::failure::metadata_failure;
use super::model::{JobId, JobView, Tenant};
use super::requests::Requests;
use super::transaction::begin_transaction;
use crate::error::Failure;

/// How often a publication is looked at that a cancellation came too late for.
const LOOK: Duration = Duration::from_millis(100);

impl Requests {
    /// Cancels a request of a tenant, and returns where it is then; `None` for an id that is unknown or another
    /// tenant's. One that has ended stays as it is, and cancelling twice is cancelling once.
    ///
    /// When this returns, no manifest of the job will be written any more. A table whose manifest was about to be
    /// written is waited for, a second as a rule and ten when its worker has just died; it is then complete. The
    /// caller bounds the wait.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn cancel(&self, tenant: &Tenant, job: JobId, by: &str) -> Result<Option<JobView>, Failure> {
        self.begin_cancelling(tenant, job, by).await?;
        let Some(mut view) = self.find(tenant, job).await? else { return Ok(None) };
        while !view.state.is_final() && self.is_being_published(job).await? {
            tokio::time::sleep(LOOK).await;
            view = match self.find(tenant, job).await? {
                Some(view) => view,
                None => return Ok(None),
            };
        }
        Ok(Some(view))
    }

    async fn begin_cancelling(&self, tenant: &Tenant, job: JobId, by: &str) -> Result<(), Failure> {
        let mut transaction = begin_transaction(self.pool()).await.map_err(metadata_failure)?;
        lock_tables(&mut transaction, job, Some(tenant)).await.map_err(metadata_failure)?;
        let state: Option<String> = sqlx::query_scalar(include_str!("sql/cancel_job.sql"))
            .bind(job.0)
            .bind(tenant.as_str())
            .bind(format!("cancelled by {by}"))
            .fetch_optional(&mut *transaction)
            .await
            .map_err(metadata_failure)?;
        if let Some(state) = state {
            tracing::info!(%job, state, "cancelling");
            end_what_is_left(&mut transaction, job).await?;
        }
        transaction.commit().await.map_err(metadata_failure)
    }

    async fn is_being_published(&self, job: JobId) -> Result<bool, Failure> {
        sqlx::query_scalar(include_str!("sql/being_published.sql"))
            .bind(job.0)
            .fetch_one(self.pool())
            .await
            .map_err(metadata_failure)
    }
}
