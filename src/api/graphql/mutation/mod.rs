//! What may be done.

use async_graphql::{Context, Object, Result};

use super::super::auth::Identity;
use super::errors;
use super::links::Links;
use super::query::find;
use super::types::{ExportFormat, RequestStatus, RevokedLinks};
use crate::error::{ErrorCode, Failure};
use crate::identity::Actor;
use crate::jobs::{self, JobId, NewRequest, Requests};
use crate::links::Visitor;

/// The root of mutations.
pub(super) struct Mutation;

/// What may be done. Everything is done for the asker's own tenant.
#[Object]
impl Mutation {
    /// Starts an export of [startTime, endTime) (epoch seconds, at most one day). Returns the request id (UUID).
    #[allow(clippy::too_many_arguments)] // The arguments of the field.
    async fn request_data(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "First second inside, since 1970-01-01T00:00:00Z; read as a 64-bit integer.")] start_time: i64,
        #[graphql(desc = "First second outside, not in the future; read as a 64-bit integer.")] end_time: i64,
        #[graphql(
            desc = "Tables by name, see `exportTables`; left out: all that are offered on demand. One that is named twice is exported once."
        )]
        tables: Option<Vec<String>>,
        #[graphql(desc = "The format of the files; left out: PARQUET.")] format: Option<ExportFormat>,
        #[graphql(
            desc = "1 to 255 characters of your own: the same key with the same arguments is the same request, however often it is sent."
        )]
        idempotency_key: Option<String>,
    ) -> Result<String> {
        let identity = context.data::<Identity>()?;
        let request = NewRequest {
            tenant: identity.tenant.clone(),
            requested_by: identity.subject.clone(),
            start: start_time,
            end: end_time,
            tables,
            format: format.map_or(jobs::ExportFormat::Parquet, Into::into),
            idempotency_key,
        };
        let id = context.data::<Requests>()?.submit(&request).await.map_err(errors::of)?;
        Ok(id.to_string())
    }

    /// Where a request is, and its links as soon as there are any.
    async fn request_status(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What `requestData` returned.")] request_id: String,
    ) -> Result<RequestStatus> {
        find(context, &request_id).await
    }

    /// Ends the links to this service that were handed out for a request, at once and for everybody; for
    /// administrators. Doing it again does no harm. Whoever may see the request may ask for new links afterwards.
    async fn revoke_links(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What `requestData` returned.")] request_id: String,
    ) -> Result<RevokedLinks> {
        let identity = context.data::<Identity>()?;
        let visitor = context.data::<Visitor>()?;
        let by = Actor {
            name: identity.subject.clone(),
            origin: visitor.address.clone().unwrap_or_else(|| "unknown address".to_owned()),
            request_id: Some(visitor.request_id.clone()),
        };
        let job = request_id.parse::<JobId>().ok();
        let revoked = match job {
            Some(job) => {
                let book = &context.data::<Links>()?.book;
                let revoked = book.revoke(&identity.tenant, job, &by).await.map_err(errors::of)?;
                revoked.map(|revocation| RevokedLinks::of(job, revocation))
            }
            None => None,
        };
        revoked.ok_or_else(|| {
            let unknown = "there is no such request; its id is what requestData returned";
            errors::of(Failure::new(ErrorCode::NotFound, unknown))
        })
    }
}
