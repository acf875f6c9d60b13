//! Requests that are stuck: listed, and cleared with an entry in the audit.

use std::time::Duration;

use serde_json::json;
use sqlx::postgres::{PgConnection, PgPool};

use crate::error::{ErrorCode, Failure};
use crate::identity::{Action, Actor, AuditLog};
use crate::jobs::stalled::{self, Clearing, StalledJob};
use crate::jobs::{JobId, JobState, Requests, Tenant, metadata_failure};

/// Lists and clears requests of which nothing moves.
#[derive(Debug, Clone)]
pub struct StuckRequests {
    pool: PgPool,
    requests: Requests,
    stall: Duration,
}

/// What clearing a request has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// The request.
    pub job: JobId,
    /// Where it is now: `FAILED` as a rule; `CANCELLING` while a table is published whose manifest may be written
    /// already.
    pub state: JobState,
    /// The request that takes its place.
    pub resubmitted_as: Option<JobId>,
    /// Whether it had been cleared before this call.
    pub already: bool,
}

impl StuckRequests {
    /// Over the metadata database. What has not moved for `stall` is stuck.
    pub fn new(pool: PgPool, stall: Duration) -> Self {
        Self { requests: Requests::new(pool.clone()), pool, stall }
    }

    /// The stuck requests of a tenant, or of all; the longest first.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn list(&self, tenant: Option<&Tenant>) -> Result<Vec<StalledJob>, Failure> {
        self.requests.stalled(tenant, self.stall).await
    }

    /// Ends what is left of a stuck request and frees its slot and uploads; with `resubmit` its range is started again.
    /// Doing it again changes nothing and gives the same answer. `force` clears one that moves, too. `None` for an id
    /// that is unknown or another tenant's.
    ///
    /// # Errors
    /// `NOT_STALLED`; `TABLE_NOT_OFFERED`, `TABLE_WITHOUT_TIME`, `NO_TABLES` when it cannot be resubmitted, and then it
    /// is not cleared either; `METADATA_UNAVAILABLE`.
    pub async fn clear(
        &self,
        tenant: Option<&Tenant>,
        job: JobId,
        resubmit: bool,
        force: bool,
        by: &Actor,
    ) -> Result<Option<Cleared>, Failure> {
        let mut transaction = stalled::begin(&self.pool).await?;
        let done = self.clear_in(&mut transaction, tenant, job, resubmit, force, by).await;
        // What was locked is let go at once in every case.
        let ended = match &done {
            Ok(Some(_)) => transaction.commit().await,
            _ => transaction.rollback().await,
        };
        let Some((clearing, resubmitted_as)) = done? else { return Ok(None) };
        ended.map_err(metadata_failure)?;
        let state = self.requests.find(&clearing.tenant, job).await?.map_or(JobState::Failed, |job| job.state);
        Ok(Some(Cleared { job, state, resubmitted_as, already: clearing.already }))
    }

    async fn clear_in(
        &self,
        transaction: &mut PgConnection,
        tenant: Option<&Tenant>,
        job: JobId,
        resubmit: bool,
        force: bool,
        by: &Actor,
    ) -> Result<Option<(Clearing, Option<JobId>)>, Failure> {
        let cleared = stalled::clear(transaction, tenant, job, self.stall, force, &by.name).await?;
        let Some(clearing) = cleared else { return Ok(None) };
        let resubmitted = match resubmit {
            true => Some(stalled::resubmit(transaction, &clearing.tenant, job, &by.name).await?),
            false => None,
        };
        let new = resubmitted.filter(|(_, existed)| !existed);
        if !clearing.already || new.is_some() {
            let after = json!({
                "cleared": !clearing.already,
                "forced": force,
                "resubmittedAs": new.map(|(id, _)| id.to_string()),
            });
            let action = Action {
                tenant: &clearing.tenant,
                action: "request.clear",
                target: &job.to_string(),
                before: Some(json!({"state": clearing.before.as_str()})),
                after: Some(after),
            };
            AuditLog::record(transaction, by, action).await?;
        }
        Ok(Some((clearing, resubmitted.map(|(id, _)| id))))
    }
}

/// What an id that is unknown or another tenant's answers.
pub fn unknown_request() -> Failure {
    Failure::new(ErrorCode::NotFound, "there is no such request; its id is what requestData returned")
}
