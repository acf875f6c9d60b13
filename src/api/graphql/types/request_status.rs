//! What became of a request.

use std::collections::BTreeMap;

use async_graphql::{Context, Json, Object, Result, SimpleObject};
use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;

use super::super::super::auth::Identity;
use super::super::errors;
use super::super::links::{HandedOut, Links};
use super::{Compression, ExportError, ExportFormat, ExportKind, RequestState, TableStatus};
use crate::error::Failure;
use crate::jobs::{JobView, Pause};
use crate::links::Visitor;

/// A job, or none, on its way into an answer.
pub(in crate::api::graphql) struct RequestStatus {
    job: Option<JobView>,
    /// Handed out at most once an answer, and only when links or their end are asked for.
    links: OnceCell<Result<HandedOut, Failure>>,
}

impl RequestStatus {
    pub(in crate::api::graphql) fn of(job: JobView) -> Self {
        Self { job: Some(job), links: OnceCell::new() }
    }

    pub(in crate::api::graphql) fn not_requested() -> Self {
        Self { job: None, links: OnceCell::new() }
    }

    /// The links of a job that has ended.
    async fn links(&self, context: &Context<'_>) -> Result<Option<&HandedOut>> {
        let Some(job) = self.job.as_ref().filter(|job| job.state.is_final()) else { return Ok(None) };
        let (links, identity) = (context.data::<Links>()?, context.data::<Identity>()?);
        let visitor = context.data::<Visitor>()?;
        let handed_out = self.links.get_or_init(|| links.hand_out(job, identity, visitor)).await;
        handed_out.as_ref().map(Some).map_err(|failure| errors::of(failure.clone()))
    }
}

/// Why nothing of a request begins for a while.
#[derive(SimpleObject)]
struct RequestPause {
    /// When it is looked at again.
    until: DateTime<Utc>,
    /// Stable, in SCREAMING_SNAKE_CASE; each has a page in the documentation.
    code: String,
    /// What is waited for.
    message: String,
}

impl From<&Pause> for RequestPause {
    fn from(pause: &Pause) -> Self {
        Self { until: pause.until, code: pause.why.code.clone(), message: pause.why.message.clone() }
    }
}

/// What became of a request. Of one that does not exist everything but status and progress is null.
#[Object]
impl RequestStatus {
    /// `In Progress`, `Completed`, `Failed`, `Cancelled`, `Expired`, or `Request has not been requested` for an id
    /// that is not one of the tenant's.
    async fn status(&self) -> &'static str {
        self.job.as_ref().map_or("Request has not been requested", |job| job.state.status())
    }

    /// 0.0 to 100.0; never falls, counts rows inside tables, is 100 exactly when completed or expired.
    async fn progress(&self) -> f64 {
        self.job.as_ref().map_or(0.0, |job| job.progress)
    }

    /// Links by table: `{"way": ["https://…"]}`. Null before the end; of a failed request, the published tables only.
    /// Whoever has a link can download the file until `linksExpireAt`.
    #[graphql(complexity = "400")]
    async fn data_request_download_links(
        &self,
        context: &Context<'_>,
    ) -> Result<Option<Json<BTreeMap<String, Vec<String>>>>> {
        Ok(self.links(context).await?.map(|links| Json(links.urls.clone())))
    }

    /// When the first of this answer's links stops working; null without links. Ask again for new ones.
    /// Asking for this hands the links out, as the audit sees it.
    #[graphql(complexity = "100")]
    async fn links_expire_at(&self, context: &Context<'_>) -> Result<Option<DateTime<Utc>>> {
        Ok(self.links(context).await?.and_then(|links| links.expires_at))
    }

    /// The id, a UUID.
    async fn request_id(&self) -> Option<String> {
        self.job.as_ref().map(|job| job.id.to_string())
    }

    /// Where it is, more finely than `status`.
    async fn state(&self) -> Option<RequestState> {
        self.job.as_ref().map(|job| job.state.into())
    }

    /// What started it.
    async fn kind(&self) -> Option<ExportKind> {
        self.job.as_ref().map(|job| job.kind.into())
    }

    /// Its tables by name; empty until it is planned.
    #[graphql(complexity = "10 * child_complexity + 1")]
    async fn tables(&self) -> Option<Vec<TableStatus>> {
        self.job.as_ref().map(|job| job.tables.iter().map(TableStatus::from).collect())
    }

    /// Why it failed.
    async fn error(&self) -> Option<ExportError> {
        self.job.as_ref()?.error.as_ref().map(ExportError::from)
    }

    /// What it waits for, while nothing of it may begin; null otherwise. Cancelling works meanwhile.
    async fn pause(&self) -> Option<RequestPause> {
        self.job.as_ref()?.pause.as_ref().map(RequestPause::from)
    }

    /// First second of the time range, since 1970-01-01T00:00:00Z.
    async fn start_time(&self) -> Option<i64> {
        self.job.as_ref().map(|job| job.window.start.timestamp())
    }

    /// First second after the time range, since 1970-01-01T00:00:00Z.
    async fn end_time(&self) -> Option<i64> {
        self.job.as_ref().map(|job| job.window.end.timestamp())
    }

    /// The format that was asked for; null where each table has its own.
    async fn format(&self) -> Option<ExportFormat> {
        self.job.as_ref()?.files.format.map(Into::into)
    }

    /// The compression that was asked for; null where it is the format's usual one.
    async fn compression(&self) -> Option<Compression> {
        self.job.as_ref()?.files.compression.map(Into::into)
    }

    /// When it was asked for.
    async fn created_at(&self) -> Option<DateTime<Utc>> {
        self.job.as_ref().map(|job| job.queued_at)
    }

    /// When work on it began.
    async fn started_at(&self) -> Option<DateTime<Utc>> {
        self.job.as_ref().and_then(|job| job.started_at)
    }

    /// When it ended.
    async fn completed_at(&self) -> Option<DateTime<Utc>> {
        self.job.as_ref().and_then(|job| job.completed_at)
    }
}
