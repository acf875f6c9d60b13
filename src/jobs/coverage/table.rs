//! One table over a range of days: what its latest revisions came to, and what is needed to look after them.

use chrono::{DateTime, NaiveDate, Utc};
use classification::{Predicate, TableName};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Coverage, within};
use crate::error::{ErrorCode, Failure};
use crate::jobs::failure::metadata_failure;
use crate::jobs::model::{JobId, PublishedFile, StoredError, Window};

/// A table on one day, as its latest revision has it.
#[derive(Debug, Clone, PartialEq)]
pub struct TableOfDay {
    /// The date, in the schedule's time zone.
    pub date: NaiveDate,
    /// When this was read, by the database's clock.
    pub read_at: DateTime<Utc>,
    /// What there is of it.
    pub state: TableOfDayState,
}

/// What there is of a table on one day.
#[derive(Debug, Clone, PartialEq)]
pub enum TableOfDayState {
    /// It was never exported.
    Never,
    /// It is being exported, for the first time or again.
    InProgress {
        /// The latest revision that has begun.
        revision: Option<i32>,
    },
    /// Its latest revision failed, for this reason.
    Failed {
        /// That revision.
        revision: i32,
        /// Why.
        error: Option<StoredError>,
    },
    /// Its latest revision was published.
    Published(Box<Publication>),
}

/// A table that was published for a day.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The job.
    pub job: JobId,
    /// Which time the table was exported for this day.
    pub revision: i32,
    /// Where its manifest was written: `s3://bucket/key`.
    pub manifest: String,
    /// Its files.
    pub files: Vec<PublishedFile>,
    /// Rows in them.
    pub row_count: i64,
    /// The day.
    pub window: Window,
    /// The rows that the policy let through.
    pub rows: Predicate,
    /// How its first file's rows were cut by time, as the plan has it; `None` for a table that is exported whole.
    pub slice: Option<Value>,
}

#[derive(sqlx::FromRow)]
struct Row {
    date: NaiveDate,
    read_at: DateTime<Utc>,
    job_id: Option<Uuid>,
    revision: Option<i32>,
    status: Option<String>,
    row_count: Option<i64>,
    manifest_url: Option<String>,
    window_start: Option<DateTime<Utc>>,
    window_end: Option<DateTime<Utc>>,
    error_code: Option<String>,
    error_message: Option<String>,
    files: Option<Json<Vec<PublishedFile>>>,
    rows: Option<Json<Predicate>>,
    slice: Option<Json<Option<Value>>>,
    being_exported: bool,
}

impl Row {
    fn read(self) -> Option<TableOfDay> {
        let state = match self.status.as_deref() {
            _ if self.being_exported => TableOfDayState::InProgress { revision: self.revision },
            None => TableOfDayState::Never,
            Some("IN-PROGRESS") => TableOfDayState::InProgress { revision: self.revision },
            Some("FAILED") => TableOfDayState::Failed {
                revision: self.revision?,
                error: StoredError::of(self.error_code, self.error_message),
            },
            Some("COMPLETED") => TableOfDayState::Published(Box::new(Publication {
                job: JobId(self.job_id?),
                revision: self.revision?,
                manifest: self.manifest_url?,
                files: self.files?.0,
                row_count: self.row_count?,
                window: Window { start: self.window_start?, end: self.window_end? },
                rows: self.rows?.0,
                slice: self.slice?.0,
            })),
            Some(_) => return None,
        };
        Some(TableOfDay { date: self.date, read_at: self.read_at, state })
    }
}

impl Coverage {
    /// A table on every day from `from` to `to`, both included, as its latest revision has it. A revision that is under way
    /// counts, and one that failed does: what an earlier one published is then not the last word.
    ///
    /// # Errors
    /// `RANGE_INVALID` when it ends before it begins, `RANGE_TOO_LONG` for more than `most` days,
    /// `METADATA_UNAVAILABLE`.
    pub async fn table(
        &self,
        table: &TableName,
        (from, to): (NaiveDate, NaiveDate),
        most: i64,
    ) -> Result<Vec<TableOfDay>, Failure> {
        within(from, to, most)?;
        let rows: Vec<Row> = sqlx::query_as(include_str!("../sql/days/exported.sql"))
            .bind(table.to_string())
            .bind(from)
            .bind(to)
            .bind(&self.zone)
            .fetch_all(&self.pool)
            .await
            .map_err(metadata_failure)?;
        let broken = |date| {
            let why =
                format!("what is kept of '{table}' on {date} cannot be read by this version; export the day again");
            Failure::new(ErrorCode::Internal, why)
        };
        rows.into_iter().map(|row| (row.date, row)).map(|(date, row)| row.read().ok_or_else(|| broken(date))).collect()
    }
}
