//! What revoking links has done.

use async_graphql::Object;
use chrono::{DateTime, Utc};

use crate::jobs::JobId;
use crate::links::Revocation;

/// An answer to `revokeLinks`.
pub(in crate::api::graphql) struct RevokedLinks {
    job: JobId,
    revocation: Revocation,
}

impl RevokedLinks {
    pub(in crate::api::graphql) fn of(job: JobId, revocation: Revocation) -> Self {
        Self { job, revocation }
    }

    fn still_work_until(&self) -> Option<DateTime<Utc>> {
        self.revocation.presigned_until.max(self.revocation.redirected_until)
    }
}

/// What became of the links of a request. Only links to this service (`EXPORTER_LINKS=redirect`) can be revoked;
/// presigned links work until they end, whatever anybody does here.
#[Object]
impl RevokedLinks {
    /// The request.
    async fn request_id(&self) -> String {
        self.job.to_string()
    }

    /// How many hand-outs of links this call has ended; 0 when there were none left to end.
    async fn revoked(&self) -> i64 {
        self.revocation.revoked
    }

    /// When links of the request were last revoked; null if none ever were.
    async fn revoked_at(&self) -> Option<DateTime<Utc>> {
        self.revocation.revoked_at
    }

    /// Until when presigned links work that were handed out and cannot be revoked; null if there are none.
    async fn presigned_until(&self) -> Option<DateTime<Utc>> {
        self.revocation.presigned_until
    }

    /// Until when whoever followed a link just before it was revoked may still begin the download; null if nobody did.
    async fn redirected_until(&self) -> Option<DateTime<Utc>> {
        self.revocation.redirected_until
    }

    /// All this in a sentence or two.
    async fn message(&self) -> String {
        let done = match self.revocation.revoked {
            0 => "There were no links to this service left to revoke.",
            _ => "The links to this service are revoked.",
        };
        let rest = match self.still_work_until() {
            None => "None of the request's links works any more.".to_owned(),
            Some(until) if self.revocation.presigned_until.is_some() => format!(
                "Presigned links cannot be revoked: some work until {}. To end them earlier, delete the objects or \
                 disable the credential that signed them.",
                until.format("%Y-%m-%dT%H:%M:%SZ")
            ),
            Some(until) => format!(
                "Who followed one just before may begin the download until {}.",
                until.format("%Y-%m-%dT%H:%M:%SZ")
            ),
        };
        format!("{done} {rest}")
    }
}
