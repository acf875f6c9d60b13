//! What may be watched.

mod hub;
mod places;
mod protocol;
mod socket;

use async_graphql::{Context, Result, Subscription as GraphQLSubscription};
use futures::stream::{self, BoxStream, Stream, StreamExt};

pub(super) use self::hub::Hub;
use self::hub::News;
pub(in crate::api) use self::socket::{Sockets, upgrade};
use super::super::auth::Identity;
use super::errors;
use super::types::RequestStatus;
use crate::jobs::JobId;

/// The root of subscriptions.
pub(super) struct Subscription;

/// What may be watched, over the protocol graphql-transport-ws at `/graphql/ws`.
#[GraphQLSubscription]
impl Subscription {
    /// Where a request is, now and whenever that changes, until it ends. A slow reader misses what lies between, never
    /// the end. Of an id that is not one of the tenant's: one answer, as `requestStatus` gives it.
    async fn request_progress(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What `requestData` returned.")] request_id: String,
    ) -> Result<impl Stream<Item = Result<RequestStatus>> + use<>> {
        let tenant = context.data::<Identity>()?.tenant.clone();
        let Ok(id) = request_id.parse::<JobId>() else {
            return Ok(stream::iter([Ok(RequestStatus::not_requested())]).boxed());
        };
        let watched = context.data::<Hub>()?.watch(tenant, id);
        let statuses: BoxStream<'static, _> = stream::unfold(watched, async |mut watched| {
            let news = watched.next().await?;
            let answer = match news {
                News::Failed(failure) => Err(errors::of(failure)),
                News::Unknown => Ok(RequestStatus::not_requested()),
                News::Job(job) => Ok(RequestStatus::of(*job)),
            };
            Some((answer, watched))
        })
        .boxed();
        Ok(statuses)
    }
}
