//! Which days are exported: a calendar of the schedule, day by day and table by table, as the metadata database has it.
//!
//! It is read, never changed, and says nothing of the bucket or the warehouse: whether files are still there, and
//! whether rows came late, `upkeep` finds out.

mod table;

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sqlx::postgres::PgPool;
use uuid::Uuid;

pub use self::table::{Publication, TableOfDay, TableOfDayState};
use super::failure::metadata_failure;
use super::model::{JobId, StoredError};
use crate::error::{ErrorCode, Failure};

/// Days that are told at once, at most.
pub const MOST_DAYS: i64 = 400;

/// How a day stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayState {
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

impl DayState {
    /// Every state, in the order of a legend.
    pub const ALL: [Self; 6] =
        [Self::Exported, Self::Incomplete, Self::InProgress, Self::Missing, Self::Missed, Self::NotOver];

    /// As it is written outside.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exported => "EXPORTED",
            Self::Incomplete => "INCOMPLETE",
            Self::InProgress => "IN_PROGRESS",
            Self::Missing => "MISSING",
            Self::Missed => "MISSED",
            Self::NotOver => "NOT_OVER",
        }
    }

    /// Whether this is nothing that somebody has to see to: it is exported, or it cannot be yet.
    pub fn is_fine(self) -> bool {
        matches!(self, Self::Exported | Self::NotOver)
    }
}

/// A day of the calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayCoverage {
    /// The date, in the schedule's time zone.
    pub date: NaiveDate,
    /// How it stands.
    pub state: DayState,
    /// The job that exported it last.
    pub job: Option<JobId>,
    /// Which time that was, from 1.
    pub revision: Option<i32>,
    /// What ended that job as a whole.
    pub error: Option<StoredError>,
    /// The tables that were ever exported of it, by name.
    pub tables: Vec<TableCoverage>,
    /// Tables that the schedule exports by the rules of now, and that no export of the day had. Those of a day that was
    /// exported before they were enabled are here, too, and do not make it incomplete.
    pub lacking: Vec<String>,
}

impl DayCoverage {
    /// Rows of the tables whose latest revision is published.
    pub fn rows(&self) -> i64 {
        self.tables.iter().filter_map(|table| table.rows).sum()
    }
}

/// A table of a day as its latest revision has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableCoverage {
    /// Its name.
    pub name: String,
    /// `IN-PROGRESS`, `COMPLETED` or `FAILED`.
    pub status: String,
    /// The job.
    pub job: JobId,
    /// The revision.
    pub revision: i32,
    /// The last revision that was published; an earlier one than [`Self::revision`] where that failed or is not there yet.
    pub published_revision: Option<i32>,
    /// Rows published.
    pub rows: Option<i64>,
    /// Bytes published.
    pub bytes: Option<i64>,
    /// The manifest's address.
    pub manifest: Option<String>,
    /// The day whose files it lists, where the table has not changed since then.
    pub unchanged_since: Option<NaiveDate>,
    /// Why it failed.
    pub error: Option<StoredError>,
}

/// The calendar of the schedule.
#[derive(Debug, Clone)]
pub struct Coverage {
    pool: PgPool,
    zone: String,
}

#[derive(sqlx::FromRow)]
struct DayRow {
    date: NaiveDate,
    over: bool,
    job_id: Option<Uuid>,
    revision: Option<i32>,
    closed: bool,
    succeeded: Option<bool>,
    error_code: Option<String>,
    error_message: Option<String>,
    missed: bool,
}

impl DayRow {
    fn state(&self) -> DayState {
        match (self.job_id, self.closed) {
            // Its summary is the last thing of a day: before it, the day may still become anything.
            (Some(_), false) => DayState::InProgress,
            (Some(_), true) if self.succeeded == Some(true) => DayState::Exported,
            (Some(_), true) => DayState::Incomplete,
            (None, _) if !self.over => DayState::NotOver,
            (None, _) if self.missed => DayState::Missed,
            (None, _) => DayState::Missing,
        }
    }
}

#[derive(sqlx::FromRow)]
struct TableRow {
    export_date: NaiveDate,
    table_name: String,
    job_id: Uuid,
    revision: i32,
    status: String,
    row_count: Option<i64>,
    byte_count: Option<i64>,
    manifest_url: Option<String>,
    unchanged_since: Option<NaiveDate>,
    error_code: Option<String>,
    error_message: Option<String>,
    published_revision: Option<i32>,
}

impl From<TableRow> for TableCoverage {
    fn from(row: TableRow) -> Self {
        Self {
            name: row.table_name,
            status: row.status,
            job: JobId(row.job_id),
            revision: row.revision,
            published_revision: row.published_revision,
            rows: row.row_count,
            bytes: row.byte_count,
            manifest: row.manifest_url,
            unchanged_since: row.unchanged_since,
            error: StoredError::of(row.error_code, row.error_message),
        }
    }
}

impl Coverage {
    /// Of the schedule in this IANA time zone, in this database.
    pub fn new(pool: PgPool, zone: impl Into<String>) -> Self {
        Self { pool, zone: zone.into() }
    }

    /// Today in the schedule's time zone.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn today(&self) -> Result<NaiveDate, Failure> {
        sqlx::query_scalar(include_str!("sql/days/today.sql"))
            .bind(&self.zone)
            .fetch_one(&self.pool)
            .await
            .map_err(metadata_failure)
    }

    /// Every day from `from` to `to`, both included. Days that the time zone has skipped are left out.
    ///
    /// # Errors
    /// `RANGE_INVALID` when it ends before it begins, `RANGE_TOO_LONG` for more than [`MOST_DAYS`],
    /// `METADATA_UNAVAILABLE`.
    pub async fn days(&self, from: NaiveDate, to: NaiveDate) -> Result<Vec<DayCoverage>, Failure> {
        within(from, to, MOST_DAYS)?;
        let days: Vec<DayRow> = sqlx::query_as(include_str!("sql/days/coverage.sql"))
            .bind(from)
            .bind(to)
            .bind(&self.zone)
            .fetch_all(&self.pool)
            .await
            .map_err(metadata_failure)?;
        let rows: Vec<TableRow> = sqlx::query_as(include_str!("sql/days/coverage_tables.sql"))
            .bind(from)
            .bind(to)
            .fetch_all(&self.pool)
            .await
            .map_err(metadata_failure)?;
        let scheduled: Vec<String> = sqlx::query_scalar(include_str!("sql/days/scheduled_tables.sql"))
            .fetch_all(&self.pool)
            .await
            .map_err(metadata_failure)?;
        let mut tables: BTreeMap<NaiveDate, Vec<TableCoverage>> = BTreeMap::new();
        for row in rows {
            tables.entry(row.export_date).or_default().push(row.into());
        }
        let day = |row: DayRow| {
            let tables = tables.remove(&row.date).unwrap_or_default();
            let lacking = scheduled.iter().filter(|_| row.job_id.is_some());
            let lacking = lacking.filter(|name| !tables.iter().any(|table| table.name == **name));
            DayCoverage {
                date: row.date,
                state: row.state(),
                job: row.job_id.map(JobId),
                revision: row.revision,
                lacking: lacking.cloned().collect(),
                error: StoredError::of(row.error_code, row.error_message),
                tables,
            }
        };
        Ok(days.into_iter().map(day).collect())
    }
}

/// That a range of dates is one, and not longer than this.
fn within(from: NaiveDate, to: NaiveDate, most: i64) -> Result<(), Failure> {
    if to < from {
        let why = format!("{to} is before {from}; write the first date first, both are included");
        return Err(Failure::new(ErrorCode::RangeInvalid, why));
    }
    let days = (to - from).num_days() + 1;
    if days > most {
        let why =
            format!("{from} to {to} are {days} days, and {most} at most are told at once; ask for a part of them");
        return Err(Failure::new(ErrorCode::RangeTooLong, why));
    }
    Ok(())
}
