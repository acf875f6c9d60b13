//! Rows of `table_export_job_statuses`.

use async_graphql::{InputObject, SimpleObject};
use chrono::{DateTime, Utc};

use super::{Date, ExportError, ExportKind, Long};
use crate::error::{ErrorCode, Failure};
use crate::jobs::model::StoredError;
use crate::jobs::{JobKind, StatusFilter, TableExportStatus};

/// One table of one export, as operators see it in `table_export_job_statuses`.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct TableExportJobStatus {
    /// The export that it belongs to.
    request_id: String,
    /// What started the export; null for a kind that this version does not know.
    kind: Option<ExportKind>,
    /// The table.
    table: String,
    /// The day of the schedule.
    export_date: Option<Date>,
    /// First instant of the time range.
    window_start: DateTime<Utc>,
    /// First instant after the time range.
    window_end: DateTime<Utc>,
    /// 1, and one more for each time that a scheduled day was restated.
    revision: i32,
    /// `IN-PROGRESS`, `COMPLETED` or `FAILED`.
    status: String,
    /// Attempts at its parts, all together.
    attempts: i32,
    /// Rows exported.
    rows: Option<Long>,
    /// Bytes published.
    bytes: Option<Long>,
    /// Where its manifest is in the object store.
    manifest_url: Option<String>,
    /// The policy that it was exported under.
    policy_hash: Option<String>,
    /// The day whose files its manifest lists, where the table is exported when it has changed and has not since then.
    unchanged_since: Option<Date>,
    /// Why it failed.
    error: Option<ExportError>,
    /// When work on it began.
    started_at: DateTime<Utc>,
    /// When it ended.
    completed_at: Option<DateTime<Utc>>,
}

impl From<TableExportStatus> for TableExportJobStatus {
    fn from(row: TableExportStatus) -> Self {
        let error = StoredError::of(row.error_code, row.error_message);
        Self {
            request_id: row.job_id.to_string(),
            kind: JobKind::parse(&row.kind).map(Into::into),
            table: row.table_name,
            export_date: row.export_date.map(Date),
            window_start: row.window_start,
            window_end: row.window_end,
            revision: row.revision,
            status: row.status,
            attempts: row.attempts,
            rows: row.row_count.map(Long),
            bytes: row.byte_count.map(Long),
            manifest_url: row.manifest_url,
            policy_hash: row.policy_hash,
            unchanged_since: row.unchanged_since.map(Date),
            error: error.as_ref().map(ExportError::from),
            started_at: row.started_at,
            completed_at: row.completed_at,
        }
    }
}

/// Which table exports are asked for; what is left out matches any.
#[derive(Default, InputObject)]
pub(in crate::api::graphql) struct TableExportJobStatusFilter {
    /// Of this table.
    table: Option<String>,
    /// `IN-PROGRESS`, `COMPLETED` or `FAILED`.
    status: Option<String>,
    /// Of this kind.
    kind: Option<ExportKind>,
    /// Of this export.
    request_id: Option<String>,
    /// Of days of the schedule from this one on.
    from: Option<Date>,
    /// Of days of the schedule up to this one, included.
    to: Option<Date>,
    /// Of this revision.
    revision: Option<i32>,
    /// True: of each table of a day only its latest revision. Requests have no other.
    latest: Option<bool>,
}

impl TableExportJobStatusFilter {
    /// As the queue takes it. `None` where nothing can match: a table or an id that cannot exist.
    pub(in crate::api::graphql) fn resolve(self) -> Result<Option<StatusFilter>, Failure> {
        const STATUSES: [&str; 3] = ["IN-PROGRESS", "COMPLETED", "FAILED"];
        if self.status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
            return Err(Failure::new(ErrorCode::BadRequest, format!("status must be one of {}", STATUSES.join(", "))));
        }
        let Ok(table) = self.table.as_deref().map(str::parse::<classification::TableName>).transpose() else {
            return Ok(None);
        };
        let Ok(job) = self.request_id.as_deref().map(str::parse).transpose() else { return Ok(None) };
        Ok(Some(StatusFilter {
            table: table.map(|table| table.to_string()),
            status: self.status,
            kind: self.kind.map(Into::into),
            job,
            from: self.from.map(|date| date.0),
            to: self.to.map(|date| date.0),
            revision: self.revision,
            latest: self.latest.unwrap_or(false),
        }))
    }
}
