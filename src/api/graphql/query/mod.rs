//! What may be asked.

use async_graphql::{Context, Object, Result};

use super::super::auth::Identity;
use super::errors;
use super::rules;
use super::types::{
    AuditEntry, Classification, Connection, Date, DayCoverage, ExplainedExport, ExportTable, ExportedTable,
    Notification, NotificationState, RequestStatus, StalledRequest, TableExportJobStatus, TableExportJobStatusFilter,
    UnclassifiedColumn, page, page_cost,
};
use crate::error::{ErrorCode, Failure};
use crate::explain::Explainer;
use crate::identity::AuditLog;
use crate::jobs::coverage::Coverage;
use crate::jobs::{JobId, Requests};
use crate::rules::RuleStore;
use crate::upkeep::exported::Exported;
use crate::upkeep::{Notices, StuckRequests};

/// What it costs to have an export explained: two questions that read rows.
const EXPLAINING: usize = 5_000;
/// What it costs to look at all rules, or at all tables.
const LOOKING: usize = 1_000;

/// The root of queries.
pub(super) struct Query;

/// What may be asked. Every answer is of the asker's own tenant.
#[Object]
impl Query {
    /// Where a request is: the same answer as `requestStatus`, as a query.
    async fn request(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What `requestData` returned.")] request_id: String,
    ) -> Result<RequestStatus> {
        find(context, &request_id).await
    }

    /// The tenant's exports, newest first.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn requests(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; left out: 20.")] first: Option<i64>,
        #[graphql(desc = "Continue after this cursor: `pageInfo.endCursor` of the page before.")] after: Option<String>,
    ) -> Result<Connection<RequestStatus>> {
        let identity = context.data::<Identity>()?;
        let page = page(first, after.as_deref()).map_err(errors::of)?;
        let jobs = context.data::<Requests>()?.list(&identity.tenant, &page).await.map_err(errors::of)?;
        Ok(Connection::of(jobs, &page, |job| (job.queued_at, job.id), RequestStatus::of))
    }

    /// The tables that may be exported, by the asker's tenant: all by `default`, those whose rows name their tenant
    /// by others.
    async fn export_tables(&self, context: &Context<'_>) -> Result<Vec<ExportTable>> {
        let tenant = &context.data::<Identity>()?.tenant;
        let tables = context.data::<Requests>()?.export_tables(tenant).await.map_err(errors::of)?;
        Ok(tables.into_iter().map(ExportTable::from).collect())
    }

    /// Every table of every export, newest first: what the table `table_export_job_statuses` holds of the tenant.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn table_export_job_statuses(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Only those that match all of this.")] filter: Option<TableExportJobStatusFilter>,
        #[graphql(desc = "How many, 1 to 100; left out: 20.")] first: Option<i64>,
        #[graphql(desc = "Continue after this cursor: `pageInfo.endCursor` of the page before.")] after: Option<String>,
    ) -> Result<Connection<TableExportJobStatus>> {
        let identity = context.data::<Identity>()?;
        let page = page(first, after.as_deref()).map_err(errors::of)?;
        let Some(filter) = filter.unwrap_or_default().resolve().map_err(errors::of)? else {
            return Ok(Connection::empty());
        };
        let requests = context.data::<Requests>()?;
        let rows = requests.table_statuses(&identity.tenant, &filter, &page).await.map_err(errors::of)?;
        Ok(Connection::of(
            rows,
            &page,
            |row| (row.started_at, row.job_id, row.table_name.clone()),
            TableExportJobStatus::from,
        ))
    }

    /// What would leave of a table in a range, and why: each column with the rule that decided it, and how many of the
    /// asker's rows each rule holds back. Counting reads the rows of the range; ask for less if it takes too long.
    #[graphql(complexity = "EXPLAINING + child_complexity")]
    async fn explain_export(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The table, see `exportTables`.")] table: String,
        #[graphql(desc = "First second inside, as for `requestData`.")] start_time: i64,
        #[graphql(desc = "First second outside, at most a day later.")] end_time: i64,
    ) -> Result<ExplainedExport> {
        Ok(rules::explain(context, &table, start_time, end_time).await?.into())
    }

    /// The rules as they are. For administrators of the tenant `default`, since they hold for all tenants.
    #[graphql(complexity = "LOOKING + child_complexity")]
    async fn classification(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Only what concerns this table; left out: everything.")] table: Option<String>,
    ) -> Result<Classification> {
        let table = table.as_deref().map(rules::table_named).transpose()?;
        let found = context.data::<RuleStore>()?.load().await.map_err(|error| errors::of(error.into()))?;
        Ok(Classification::of(&found, table.as_ref()))
    }

    /// Where the columns of enabled tables and the rules have come apart, as the warehouse is now: columns that nobody
    /// has classified, classified ones that are gone, and ones of another type than was classified. For administrators
    /// of the tenant `default`.
    #[graphql(complexity = "LOOKING + child_complexity")]
    async fn unclassified_columns(&self, context: &Context<'_>) -> Result<Vec<UnclassifiedColumn>> {
        let drift = context.data::<Explainer>()?.drift().await.map_err(errors::of)?;
        Ok(drift.into_iter().map(Into::into).collect())
    }

    /// Requests of the tenant that are worked on although nothing of them has moved for a while
    /// (`EXPORTER_STALL_SECONDS`), the longest first. For administrators.
    async fn stalled_requests(&self, context: &Context<'_>) -> Result<Vec<StalledRequest>> {
        let tenant = &context.data::<Identity>()?.tenant;
        let stalled = context.data::<StuckRequests>()?.list(Some(tenant)).await.map_err(errors::of)?;
        Ok(stalled.into_iter().map(StalledRequest::from).collect())
    }

    /// What the outside was or will be told, newest first, see docs/notifications.md. What was sent is kept for a month.
    /// For administrators of the tenant `default`.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn notifications(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Only those in this state; left out: all.")] state: Option<NotificationState>,
        #[graphql(desc = "How many, 1 to 100; left out: 20.")] first: Option<i64>,
        #[graphql(desc = "Continue after this cursor: `pageInfo.endCursor` of the page before.")] after: Option<String>,
    ) -> Result<Connection<Notification>> {
        let page = page(first, after.as_deref()).map_err(errors::of)?;
        let found = context.data::<Notices>()?.list(state.map(Into::into), &page).await.map_err(errors::of)?;
        Ok(Connection::of(found, &page, |one| (one.occurred_at, one.event_id), Notification::from))
    }

    /// Which days of the schedule are exported: every day of a range as it stands, with its tables. For administrators of
    /// the tenant `default`.
    #[graphql(complexity = "LOOKING + child_complexity")]
    async fn coverage(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The first day, in the schedule's time zone.")] from: Date,
        #[graphql(desc = "The last day; included. At most 400 days.")] to: Date,
    ) -> Result<Vec<DayCoverage>> {
        let days = context.data::<Coverage>()?.days(from.0, to.0).await.map_err(errors::of)?;
        Ok(days.into_iter().map(DayCoverage::from).collect())
    }

    /// Whether a table of a day is safely out: published, still in the bucket, and with as many rows as the warehouse has of
    /// that day now. A bucket or a warehouse that does not answer makes this an error, never a yes. For administrators of the
    /// tenant `default`.
    #[graphql(complexity = "EXPLAINING + child_complexity")]
    async fn is_exported(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The table, see `exportTables`.")] table: String,
        #[graphql(desc = "The day, in the schedule's time zone.")] date: Date,
    ) -> Result<ExportedTable> {
        let found = out(context, &table, date, date).await?;
        // Only a date that the zone has skipped has no answer.
        let skipped = || Failure::new(ErrorCode::RangeInvalid, format!("the schedule's time zone has no {}", date.0));
        found.into_iter().next().ok_or_else(|| errors::of(skipped()))
    }

    /// The same for every day of a range. Each day counts rows of the warehouse: ask for fewer if it takes too long. For
    /// administrators of the tenant `default`.
    #[graphql(complexity = "EXPLAINING + 31 * child_complexity")]
    async fn exported_tables(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The table, see `exportTables`.")] table: String,
        #[graphql(desc = "The first day, in the schedule's time zone.")] from: Date,
        #[graphql(desc = "The last day; included. At most 31 days.")] to: Date,
    ) -> Result<Vec<ExportedTable>> {
        out(context, &table, from, to).await
    }

    /// What administrators did in the affairs of the tenant, newest first. For administrators.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn audit_log(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; left out: 20.")] first: Option<i64>,
        #[graphql(desc = "Continue after this cursor: `pageInfo.endCursor` of the page before.")] after: Option<String>,
    ) -> Result<Connection<AuditEntry>> {
        let identity = context.data::<Identity>()?;
        let page = page(first, after.as_deref()).map_err(errors::of)?;
        let entries = context.data::<AuditLog>()?.list(&identity.tenant, &page).await.map_err(errors::of)?;
        Ok(Connection::of(entries, &page, |entry| entry.id, AuditEntry::from))
    }
}

/// Whether a table is out, day by day.
async fn out(context: &Context<'_>, table: &str, from: Date, to: Date) -> Result<Vec<ExportedTable>> {
    let table = rules::table_named(table)?;
    let days = context.data::<Exported>()?.days(&table, from.0, to.0).await.map_err(errors::of)?;
    Ok(days.into_iter().map(ExportedTable::from).collect())
}

/// One request of the asker's tenant. What is malformed, unknown or another's was not requested, all alike.
pub(super) async fn find(context: &Context<'_>, request_id: &str) -> Result<RequestStatus> {
    let tenant = &context.data::<Identity>()?.tenant;
    let Ok(id) = request_id.parse::<JobId>() else { return Ok(RequestStatus::not_requested()) };
    let job = context.data::<Requests>()?.find(tenant, id).await.map_err(errors::of)?;
    Ok(job.map_or_else(RequestStatus::not_requested, RequestStatus::of))
}
