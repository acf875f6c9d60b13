//! Days of the schedule as they stand.

use async_graphql::{Enum, SimpleObject};

use super::{Date, ExportError, Long};
use crate::jobs::coverage;

/// How a day of the schedule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "coverage::DayState")]
pub(in crate::api::graphql) enum DayState {
    /// Every table's latest revision is published, and the day's summary says success.
    Exported,
    /// It was exported and something is lacking: a table failed, the day could not be planned, or only some of its tables
    /// were ever asked for.
    Incomplete,
    /// It is being exported or waits for that, for the first time or again.
    InProgress,
    /// It is over and nothing exports it.
    Missing,
    /// It is over, and nobody was running when the schedule should have exported it; it is not caught up.
    Missed,
    /// It has not ended yet.
    NotOver,
}

/// A day of the schedule.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct DayCoverage {
    /// The date, in the schedule's time zone.
    date: Date,
    /// How it stands.
    state: DayState,
    /// The export that it was last; null for a day that never was.
    request_id: Option<String>,
    /// Which time that was, from 1.
    revision: Option<i32>,
    /// Rows of the tables whose latest revision is published.
    rows: Long,
    /// What ended the last export as a whole.
    error: Option<ExportError>,
    /// The tables that were ever exported of it.
    tables: Vec<TableCoverage>,
    /// Tables that the schedule exports by the rules of now, and that no export of the day had. They do not make it
    /// incomplete: it may be older than their rules.
    lacking: Vec<String>,
}

/// A table of a day as its latest revision has it.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct TableCoverage {
    /// The table.
    table: String,
    /// `IN-PROGRESS`, `COMPLETED` or `FAILED`.
    status: String,
    /// The export.
    request_id: String,
    /// The revision.
    revision: i32,
    /// The last revision that was published: an earlier one than `revision` where that failed or is not there yet.
    published_revision: Option<i32>,
    /// Rows published.
    rows: Option<Long>,
    /// Bytes published.
    bytes: Option<Long>,
    /// Where its manifest is in the object store.
    manifest_url: Option<String>,
    /// The day whose files that manifest lists, where the table is exported when it has changed and has not since then.
    unchanged_since: Option<Date>,
    /// Why it failed.
    error: Option<ExportError>,
}

impl From<coverage::DayCoverage> for DayCoverage {
    fn from(day: coverage::DayCoverage) -> Self {
        Self {
            date: Date(day.date),
            state: day.state.into(),
            request_id: day.job.map(|job| job.to_string()),
            revision: day.revision,
            rows: Long(day.rows()),
            error: day.error.as_ref().map(ExportError::from),
            tables: day.tables.into_iter().map(TableCoverage::from).collect(),
            lacking: day.lacking,
        }
    }
}

impl From<coverage::TableCoverage> for TableCoverage {
    fn from(table: coverage::TableCoverage) -> Self {
        Self {
            table: table.name,
            status: table.status,
            request_id: table.job.to_string(),
            revision: table.revision,
            published_revision: table.published_revision,
            rows: table.rows.map(Long),
            bytes: table.bytes.map(Long),
            manifest_url: table.manifest,
            unchanged_since: table.unchanged_since.map(Date),
            error: table.error.as_ref().map(ExportError::from),
        }
    }
}
