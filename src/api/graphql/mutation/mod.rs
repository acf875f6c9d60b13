//! What may be done.

use async_graphql::{Context, Object, Result};
use classification::rules::{ColumnRule, MetricRule, SourceRule};

use super::super::auth::Identity;
use super::errors;
use super::links::Links;
use super::query::find;
use super::rules;
use super::types::{
    ChangedRule, ClassificationCode, ClearedRequest, Compression, Date, ExportFormat, Notification, RequestStatus,
    RevokedLinks,
};
use crate::jobs::{FileChoice, JobId, NewRequest, Requests};
use crate::rules::RuleEdit;
use crate::upkeep::{self, Notices, ScheduledRuns, StuckRequests};

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
        #[graphql(desc = "The format of the files; left out: each table's own, see `exportTables`.")] format: Option<
            ExportFormat,
        >,
        #[graphql(
            desc = "1 to 255 characters of your own: the same key with the same arguments is the same request, however often it is sent."
        )]
        idempotency_key: Option<String>,
        #[graphql(
            desc = "How the files are compressed, said only with a format; left out: ZSTD for PARQUET, NONE for the others."
        )]
        compression: Option<Compression>,
    ) -> Result<String> {
        let identity = context.data::<Identity>()?;
        let request = NewRequest {
            tenant: identity.tenant.clone(),
            requested_by: identity.subject.clone(),
            start: start_time,
            end: end_time,
            tables,
            files: FileChoice { format: format.map(Into::into), compression: compression.map(Into::into) },
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

    /// Cancels a request and answers where it is then. What waits ends at once. What runs is `In Progress` until its
    /// workers have let go, a few seconds, and then `Cancelled`; tables that were published by then stay downloadable,
    /// and after this answer no further one is. A request that has ended stays as it is; of an id that is not one of
    /// the tenant's: the answer of `requestStatus`.
    async fn cancel_request(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What `requestData` returned.")] request_id: String,
    ) -> Result<RequestStatus> {
        let identity = context.data::<Identity>()?;
        let Ok(id) = request_id.parse::<JobId>() else { return Ok(RequestStatus::not_requested()) };
        let requests = context.data::<Requests>()?;
        let job = requests.cancel(&identity.tenant, id, &identity.subject).await.map_err(errors::of)?;
        Ok(job.map_or_else(RequestStatus::not_requested, RequestStatus::of))
    }

    /// Ends what is left of a request that is stuck, see `stalledRequests`, and frees its place and its uploads; for
    /// administrators. Tables that were published stay downloadable. Doing it again changes nothing and gives the same
    /// answer. Refused with `NOT_STALLED` for a request that goes on, waits or has ended.
    async fn clear_stalled_request(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What `requestData` returned.")] request_id: String,
        #[graphql(
            desc = "Start the same range again, as a new request. Refused, with nothing cleared, when a table of it is not offered any more.",
            default_with = "Some(false)"
        )]
        resubmit: Option<bool>,
        #[graphql(desc = "Clear it even if it goes on.", default_with = "Some(false)")] force: Option<bool>,
    ) -> Result<ClearedRequest> {
        let tenant = &context.data::<Identity>()?.tenant;
        let by = rules::actor(context)?;
        let unknown = || errors::of(upkeep::unknown_request());
        let job = request_id.parse::<JobId>().map_err(|_| unknown())?;
        let (resubmit, force) = (resubmit.unwrap_or_default(), force.unwrap_or_default());
        let stuck = context.data::<StuckRequests>()?;
        let cleared = stuck.clear(Some(tenant), job, resubmit, force, &by).await.map_err(errors::of)?;
        cleared.map(ClearedRequest::of).ok_or_else(unknown)
    }

    /// Ends the links to this service that were handed out for a request, at once and for everybody; for
    /// administrators. Doing it again does no harm. Whoever may see the request may ask for new links afterwards.
    async fn revoke_links(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What `requestData` returned.")] request_id: String,
    ) -> Result<RevokedLinks> {
        let identity = context.data::<Identity>()?;
        let by = rules::actor(context)?;
        let job = request_id.parse::<JobId>().ok();
        let revoked = match job {
            Some(job) => {
                let book = &context.data::<Links>()?.book;
                let revoked = book.revoke(&identity.tenant, job, &by).await.map_err(errors::of)?;
                revoked.map(|revocation| RevokedLinks::of(job, revocation))
            }
            None => None,
        };
        revoked.ok_or_else(|| errors::of(upkeep::unknown_request()))
    }

    /// Puts a notification that was given up back to be sent, under the same id, and answers how it is then. One that is
    /// pending or was sent stays as it is. For administrators of the tenant `default`.
    async fn resend_notification(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Its `eventId`, see `notifications`.")] event_id: String,
    ) -> Result<Notification> {
        let by = rules::actor(context)?;
        let unknown = || errors::of(upkeep::unknown_notification());
        let id = event_id.parse().map_err(|_| unknown())?;
        let resent = context.data::<Notices>()?.resend(id, &by).await.map_err(errors::of)?;
        resent.map(Notification::from).ok_or_else(unknown)
    }

    /// Says what a column is, attestation included: the rule is then exactly this. Accepts the type that the column has
    /// now. For administrators of the tenant `default`, as the rules hold for all tenants.
    #[allow(clippy::too_many_arguments)] // The arguments of the field.
    async fn set_column_classification(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The table, as the warehouse names it: `table`, or `schema.table` outside public.")]
        table: String,
        #[graphql(desc = "The column, in the warehouse's own case.")] column: String,
        #[graphql(desc = "What it is.")] classification: ClassificationCode,
        #[graphql(
            desc = "Who attests that it holds no personal data; an attestation needs all three, and what is left out is not attested."
        )]
        pii_exempt_by: Option<String>,
        #[graphql(desc = "Why it holds none.")] pii_exempt_reason: Option<String>,
        #[graphql(desc = "The last day on which the attestation counts.")] pii_exempt_until: Option<Date>,
    ) -> Result<ChangedRule> {
        let rule = ColumnRule {
            table_name: rules::table_named(&table)?,
            column_name: column,
            classification: classification.into(),
            pii_exempt_by,
            pii_exempt_reason,
            pii_exempt_until: pii_exempt_until.map(|Date(day)| day),
        };
        rules::edit_column(context, rule).await
    }

    /// Says what a source of data is, for every table. For administrators of the tenant `default`.
    async fn set_source_classification(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The source, as the source columns hold it, byte for byte.")] source: String,
        #[graphql(desc = "What it is.")] classification: ClassificationCode,
    ) -> Result<ChangedRule> {
        let rule = SourceRule { source, classification: classification.into() };
        rules::edit(context, RuleEdit::Source(rule), None).await
    }

    /// Says what a metric of a long table is. For administrators of the tenant `default`.
    async fn set_metric_classification(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "A table that has a metric column.")] table: String,
        #[graphql(desc = "The metric, as the metric column holds it, byte for byte.")] metric: String,
        #[graphql(desc = "What it is.")] classification: ClassificationCode,
    ) -> Result<ChangedRule> {
        let table_name = rules::table_named(&table)?;
        let rule = MetricRule { table_name, metric_name: metric, classification: classification.into() };
        rules::edit(context, RuleEdit::Metric(rule), None).await
    }

    /// Says whether a table of `export_tables` is exported. For administrators of the tenant `default`.
    async fn enable_table(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The table, see `classification`.")] table: String,
        #[graphql(desc = "Whether it is exported.")] enabled: bool,
    ) -> Result<ChangedRule> {
        let table = rules::table_named(&table)?;
        rules::edit(context, RuleEdit::Table { table, enabled }, None).await
    }

    /// Exports a day of the schedule now, for the first time or again, and returns its id, for `requestStatus`; for
    /// administrators of the tenant `default`. What is exported again supersedes what was. Refused with
    /// `DAY_IN_PROGRESS` while an earlier job of the day goes on, and with `RANGE_IN_FUTURE` before the day is over.
    async fn run_scheduled_export(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The day, in the schedule's time zone.")] date: Date,
        #[graphql(desc = "Tables by name; left out: all that the schedule exports.")] tables: Option<Vec<String>>,
    ) -> Result<String> {
        let by = rules::actor(context)?;
        let runs = context.data::<ScheduledRuns>()?;
        let job = runs.run(date.0, tables.as_deref(), &by).await.map_err(errors::of)?;
        Ok(job.to_string())
    }
}
