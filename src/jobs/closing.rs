//! The end of a day of the schedule: what its summary says, and the visible files of what was restated.
//!
//! Both are done by whoever looks first, under a lock on their row and in one transaction with what is recorded of them:
//! a process that dies in the middle has done nothing, and the next one repeats it with the same bytes.

mod unchanged;

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use futures::future::BoxFuture;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::types::Json;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::model::{JobId, PublishedFile, Window};
use super::outbox::{self, Event};
use super::queue::{Queue, QueueError, TableTask};
use super::transaction::begin_transaction;
use crate::error::Failure;

pub use unchanged::Origin;

/// The store is written to while a row is locked, and large files are copied there. Nobody else waits for that row.
const WAIT_FOR_THE_STORE: &str = "SET LOCAL idle_in_transaction_session_timeout = '30min'";

/// How soon after a day's end its folder is looked at for the first time, and again where that failed.
const FIRST_CHECK: Duration = Duration::from_secs(60);
/// How long others go before a table whose visible files could not be replaced.
const AFTER_A_SWAP_FAILED: Duration = Duration::from_secs(30);

/// A day whose job has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedDay {
    /// The job.
    pub job: JobId,
    /// The schedule.
    pub schedule: String,
    /// The date, in the schedule's time zone.
    pub date: NaiveDate,
    /// Which time the day was exported, from 1.
    pub revision: i32,
    /// The IANA name of the time zone.
    pub time_zone: String,
    /// The day.
    pub window: Window,
    /// The revision of the rules that it was planned under; `None` when it was never planned.
    pub rules_revision: Option<i64>,
    /// What ended the job before it had a plan.
    pub error: Option<DayError>,
    /// Every table of the day as its latest revision has left it, by name.
    pub tables: Vec<DayTable>,
    /// Tables that the schedule exports and that no run of the day has had, by name: only some were ever asked for.
    pub missing: Vec<String>,
    /// Tables that were left out of this job, and why.
    pub skipped: Vec<SkippedTable>,
}

impl EndedDay {
    /// Whether the latest revision of every table is published.
    pub fn succeeded(&self) -> bool {
        self.error.is_none() && self.missing.is_empty() && self.tables.iter().all(|table| table.error.is_none())
    }
}

/// A code and a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DayError {
    /// A stable code.
    pub code: String,
    /// What is wrong, without a value.
    pub message: String,
}

/// A table of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DayTable {
    /// Its name.
    pub name: String,
    /// `COMPLETED` or `FAILED`.
    pub status: String,
    /// The latest revision that has it.
    pub revision: i32,
    /// Attempts of its partitions.
    pub attempts: i32,
    /// Rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// The manifest's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// The policy that it was exported under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_hash: Option<String>,
    /// The day whose files its manifest lists, where it has not changed since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchanged_since: Option<NaiveDate>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<DayError>,
    /// What was published before, where this is a restatement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<Superseded>,
}

/// What a restated table takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Superseded {
    /// Its revision.
    pub revision: i32,
    /// Its rows.
    pub rows: i64,
    /// Its bytes.
    pub bytes: i64,
}

/// A table that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct SkippedTable {
    /// Its name.
    #[sqlx(rename = "table_name")]
    pub name: String,
    /// A stable code.
    #[sqlx(rename = "error_code")]
    pub code: String,
    /// Why.
    #[sqlx(rename = "error_message")]
    pub message: String,
}

/// A restated table whose visible files are to be replaced.
#[derive(Debug, Clone)]
pub struct Swap {
    /// The folder whose files everybody sees.
    pub folder: String,
    /// The files of the latest revision.
    pub files: Vec<PublishedFile>,
    /// Keys of the files of earlier revisions, wherever they are.
    pub earlier: Vec<String>,
}

#[derive(sqlx::FromRow)]
struct DayRow {
    job_id: Uuid,
    schedule: String,
    export_date: NaiveDate,
    revision: i32,
    time_zone: String,
    window_start: DateTime<Utc>,
    window_end: DateTime<Utc>,
    rules_revision: Option<i64>,
    error_code: Option<String>,
    error_message: Option<String>,
}

#[derive(sqlx::FromRow)]
struct TableRow {
    table_name: String,
    revision: i32,
    status: String,
    attempts: i32,
    row_count: Option<i64>,
    byte_count: Option<i64>,
    manifest_url: Option<String>,
    policy_hash: Option<String>,
    unchanged_since: Option<NaiveDate>,
    error_code: Option<String>,
    error_message: Option<String>,
    before_revision: Option<i32>,
    before_rows: Option<i64>,
    before_bytes: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct SwapRow {
    job_id: Uuid,
    table_name: String,
    folder: String,
    files: Option<Json<Vec<PublishedFile>>>,
    outdated: bool,
    earlier: Json<Vec<String>>,
}

/// What a restated table's manifest takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Predecessor {
    /// The job that published it.
    pub job_id: Uuid,
    /// Its revision.
    pub revision: i32,
    /// Its rows.
    pub row_count: i64,
    /// Its bytes.
    pub byte_count: i64,
}

impl Queue {
    /// What was published of a table of this job's day before. `None` for the first time, and on demand.
    ///
    /// # Errors
    /// The database's, when it stays away.
    pub async fn superseded(&self, task: &TableTask) -> Result<Option<Predecessor>, QueueError> {
        self.insist(|| async {
            let found = sqlx::query_as(include_str!("sql/days/superseded.sql"))
                .bind(task.job.0)
                .bind(task.table.to_string())
                .fetch_optional(self.pool());
            Ok(found.await?)
        })
        .await
    }

    /// Closes one day whose job has ended: `write` puts its summary where everybody sees it. `false` when there is none.
    ///
    /// # Errors
    /// `write`'s failure, and the database's; either way the day stays open and is closed later.
    pub async fn close_day<F>(&self, write: F) -> Result<bool, Failure>
    where
        F: FnOnce(EndedDay) -> BoxFuture<'static, Result<bool, Failure>> + Send + 'static,
    {
        let mut tx = begin_transaction(self.pool()).await.map_err(QueueError::from)?;
        sqlx::query(WAIT_FOR_THE_STORE).execute(&mut *tx).await.map_err(QueueError::from)?;
        let found = sqlx::query_as(include_str!("sql/days/to_close.sql")).bind(self.only_job().map(|job| job.0));
        let found = found.fetch_optional(&mut *tx).await.map_err(QueueError::from)?;
        let Some(day) = ended_day(&mut tx, found).await? else { return Ok(false) };
        let (job, date, succeeded) = (day.job, day.date, day.succeeded());
        let ended = Event::DayEnded { day: Box::new(day.clone()) };
        if let Err(failure) = write(day).await {
            return Err(let_go(tx, failure).await);
        }
        let told = async {
            sqlx::query(include_str!("sql/days/close.sql"))
                .bind(job.0)
                .bind(succeeded)
                .bind(FIRST_CHECK.as_secs_f64())
                .execute(&mut *tx)
                .await?;
            outbox::tell(&mut tx, &ended).await?;
            tx.commit().await
        };
        if let Err(error) = told.await {
            // It may be that this process was frozen while it wrote, and others have closed the day since.
            let soon = sqlx::query(include_str!("sql/days/check_soon.sql")).bind(date);
            if soon.execute(self.pool()).await.is_err() {
                tracing::warn!(%job, %date, "whether the day's summary is the last one is found out later");
            }
            return Err(QueueError::from(error).into());
        }
        tracing::info!(%job, succeeded, "day closed");
        Ok(true)
    }

    /// Lets `write` make one closed day's folder say again what is known of it, where it does not: a process that was frozen
    /// while it wrote the day's end may have written it over a later one. Each is looked at again when twice the time has
    /// gone by. `false` when there is none whose time has come.
    ///
    /// # Errors
    /// As [`Queue::close_day`]; the day is looked at again.
    pub async fn check_day<F>(&self, write: F) -> Result<bool, Failure>
    where
        F: FnOnce(EndedDay) -> BoxFuture<'static, Result<bool, Failure>> + Send + 'static,
    {
        let mut tx = begin_transaction(self.pool()).await.map_err(QueueError::from)?;
        sqlx::query(WAIT_FOR_THE_STORE).execute(&mut *tx).await.map_err(QueueError::from)?;
        let found = sqlx::query_as(include_str!("sql/days/to_check.sql")).fetch_optional(&mut *tx);
        let found = found.await.map_err(QueueError::from)?;
        let Some(day) = ended_day(&mut tx, found).await? else { return Ok(false) };
        let (job, date, succeeded) = (day.job, day.date, day.succeeded());
        let (statement, changed) = match write(day).await {
            Ok(changed) => (sqlx::query(include_str!("sql/days/checked.sql")).bind(job.0).bind(succeeded), Ok(changed)),
            Err(failure) => (sqlx::query(include_str!("sql/days/check_later.sql")).bind(job.0), Err(failure)),
        };
        statement.bind(FIRST_CHECK.as_secs_f64()).execute(&mut *tx).await.map_err(QueueError::from)?;
        tx.commit().await.map_err(QueueError::from)?;
        if changed? {
            tracing::warn!(%job, %date, succeeded, "the day's folder said something else of it, and is right again");
            metrics::counter!("exporter_day_summaries_repaired_total").increment(1);
        }
        Ok(true)
    }

    /// Lets `replace` put the files of one restated table in the place of those that everybody sees. `false` when
    /// there is none whose time has come.
    ///
    /// # Errors
    /// As [`Queue::close_day`].
    pub async fn swap_day<F>(&self, replace: F) -> Result<bool, Failure>
    where
        F: FnOnce(Swap) -> BoxFuture<'static, Result<(), Failure>> + Send + 'static,
    {
        let mut tx = begin_transaction(self.pool()).await.map_err(QueueError::from)?;
        sqlx::query(WAIT_FOR_THE_STORE).execute(&mut *tx).await.map_err(QueueError::from)?;
        let found: Option<SwapRow> = sqlx::query_as(include_str!("sql/days/swap_due.sql"))
            .bind(self.only_job().map(|job| job.0))
            .fetch_optional(&mut *tx)
            .await
            .map_err(QueueError::from)?;
        let Some(row) = found else { return Ok(false) };
        if let (false, Some(files)) = (row.outdated, row.files) {
            let swap = Swap { folder: row.folder, files: files.0, earlier: row.earlier.0 };
            if let Err(failure) = replace(swap).await {
                let failure = let_go(tx, failure).await;
                sqlx::query(include_str!("sql/days/swap_later.sql"))
                    .bind(row.job_id)
                    .bind(&row.table_name)
                    .bind(AFTER_A_SWAP_FAILED.as_secs_f64())
                    .execute(self.pool())
                    .await
                    .map_err(QueueError::from)?;
                return Err(failure);
            }
        }
        sqlx::query(include_str!("sql/days/swap_done.sql"))
            .bind(row.job_id)
            .bind(&row.table_name)
            .execute(&mut *tx)
            .await
            .map_err(QueueError::from)?;
        tx.commit().await.map_err(QueueError::from)?;
        tracing::info!(job = %row.job_id, table = row.table_name, "a restated table can be seen in its folder");
        Ok(true)
    }
}

/// Lets go of what is locked before the failure is told, so that whoever tries it next does not find it taken.
async fn let_go(tx: Transaction<'_, Postgres>, failure: Failure) -> Failure {
    // Where this fails too, the server ends the transaction with its connection.
    let _ = tx.rollback().await;
    failure
}

async fn ended_day(tx: &mut PgConnection, found: Option<DayRow>) -> Result<Option<EndedDay>, QueueError> {
    let Some(row) = found else { return Ok(None) };
    let tables: Vec<TableRow> = sqlx::query_as(include_str!("sql/days/tables.sql"))
        .bind(row.export_date)
        .bind(row.revision)
        .fetch_all(&mut *tx)
        .await?;
    let missing: Vec<String> = sqlx::query_scalar(include_str!("sql/days/missing.sql"))
        .bind(row.export_date)
        .bind(row.revision)
        .fetch_all(&mut *tx)
        .await?;
    let skipped: Vec<SkippedTable> =
        sqlx::query_as(include_str!("sql/days/skipped.sql")).bind(row.job_id).fetch_all(&mut *tx).await?;
    let error = |code: Option<String>, message: Option<String>| {
        code.map(|code| DayError { code, message: message.unwrap_or_default() })
    };
    let planned = tables.iter().any(|table| table.revision == row.revision);
    Ok(Some(EndedDay {
        job: JobId(row.job_id),
        schedule: row.schedule,
        date: row.export_date,
        revision: row.revision,
        time_zone: row.time_zone,
        window: Window { start: row.window_start, end: row.window_end },
        rules_revision: row.rules_revision,
        // Of a job with tables its tables say what failed.
        error: error(row.error_code, row.error_message).filter(|_| !planned),
        tables: tables
            .into_iter()
            .map(|table| DayTable {
                name: table.table_name,
                status: table.status,
                revision: table.revision,
                attempts: table.attempts,
                rows: table.row_count,
                bytes: table.byte_count,
                manifest: table.manifest_url,
                policy_hash: table.policy_hash,
                unchanged_since: table.unchanged_since,
                error: error(table.error_code, table.error_message),
                supersedes: table.before_revision.map(|revision| Superseded {
                    revision,
                    rows: table.before_rows.unwrap_or_default(),
                    bytes: table.before_bytes.unwrap_or_default(),
                }),
            })
            .collect(),
        missing,
        skipped,
    }))
}
