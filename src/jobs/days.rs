//! Days of the schedule: the fires that are decided, and the jobs that export a day.
//!
//! A fire and its job are recorded in one transaction, under a lock on the schedule's row. A date has one job for each
//! of its revisions, by a unique index. So however many replicas decide, a fire is decided once and a day is started
//! once. When a schedule fires is for the caller to say; from which moment on is for the database.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::failure::metadata_failure;
use super::model::{JobId, Window};
use super::transaction::begin_transaction;
use crate::error::{ErrorCode, Failure};

/// A day that a schedule exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// The date, in the schedule's time zone.
    pub date: NaiveDate,
    /// From its midnight to the next.
    pub window: Window,
    /// The IANA name of the time zone.
    pub time_zone: String,
}

/// A fire that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fire {
    /// When.
    pub at: DateTime<Utc>,
    /// What it exports.
    pub day: Day,
    /// It is too late for it: it is recorded and starts nothing.
    pub missed: bool,
}

/// What became of a fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It started this job.
    Started(JobId),
    /// Its day had been started already, by this job.
    Known(JobId),
    /// It was missed.
    Missed,
}

/// A fire that has been decided now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The fire.
    pub fire: Fire,
    /// What became of it.
    pub outcome: Outcome,
}

/// One of the times that a day is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayRevision {
    /// The date, in the schedule's time zone.
    pub date: NaiveDate,
    /// Which time it is, from 1.
    pub revision: i32,
}

/// Which moment counts as now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// The database's clock.
    OfDatabase,
    /// This one, so that years can be tried in seconds.
    At(DateTime<Utc>),
}

/// A run of a day: how it is exported, by whose wish.
#[derive(Debug, Clone)]
pub struct DayRun<'a> {
    /// The schedule's name.
    pub schedule: &'a str,
    /// The day.
    pub day: &'a Day,
    /// Only these tables; `None` for all that the schedule exports.
    pub tables: Option<&'a [String]>,
    /// Who asked.
    pub requested_by: &'a str,
    /// How long after the day's end it is not exported yet, because rows come late.
    pub lag: Duration,
}

/// The job that exported a date last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatestRun {
    /// Its id.
    pub job: JobId,
    /// Which revision of the day it is, from 1.
    pub revision: i32,
    /// Whether it has ended.
    pub ended: bool,
}

/// How a day stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DayState {
    /// It has no job.
    Never,
    /// This job of it has not ended, or its end is not written.
    Open(JobId),
    /// The latest revision of every table is published.
    Exported,
    /// These tables' is not, or there never was one; none is named where only the whole day can help.
    Failed(Vec<String>),
}

/// A run of a day that exists with its transaction's commit.
#[derive(Debug)]
pub struct StartedRun {
    /// The transaction.
    pub tx: Transaction<'static, Postgres>,
    /// The job.
    pub job: JobId,
    /// Which revision of the day it is, from 1.
    pub revision: i32,
}

/// Days in the metadata database.
#[derive(Debug, Clone)]
pub struct Days {
    pool: PgPool,
}

impl Days {
    /// In this database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Decides what is due of a schedule: `due` is given the moment up to which everything is decided and the one that
    /// is now, and returns the fires between them in their order. A schedule that was never seen begins now.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`; then nothing was decided.
    pub async fn decide(
        &self,
        schedule: &str,
        lag: Duration,
        now: Now,
        due: impl FnOnce(DateTime<Utc>, DateTime<Utc>) -> Vec<Fire> + Send,
    ) -> Result<Vec<Decided>, Failure> {
        let given = match now {
            Now::OfDatabase => None,
            Now::At(at) => Some(at),
        };
        let mut tx = begin_transaction(&self.pool).await.map_err(metadata_failure)?;
        sqlx::query(include_str!("sql/days/begin.sql"))
            .bind(schedule)
            .bind(given)
            .execute(&mut *tx)
            .await
            .map_err(metadata_failure)?;
        let (until, now): (DateTime<Utc>, DateTime<Utc>) = sqlx::query_as(include_str!("sql/days/lock.sql"))
            .bind(schedule)
            .bind(given)
            .fetch_one(&mut *tx)
            .await
            .map_err(metadata_failure)?;
        let mut decided = Vec::new();
        for fire in due(until, now) {
            let outcome = self.decide_fire(&mut tx, schedule, lag, &fire).await?;
            decided.push(Decided { fire, outcome });
        }
        // Not to `now`: a fire of this very moment that the caller left out must come up again.
        if let Some(last) = decided.last() {
            sqlx::query(include_str!("sql/days/decided.sql"))
                .bind(schedule)
                .bind(last.fire.at)
                .execute(&mut *tx)
                .await
                .map_err(metadata_failure)?;
        }
        tx.commit().await.map_err(metadata_failure)?;
        Ok(decided)
    }

    async fn decide_fire(
        &self,
        tx: &mut PgConnection,
        schedule: &str,
        lag: Duration,
        fire: &Fire,
    ) -> Result<Outcome, Failure> {
        let outcome = if fire.missed {
            Outcome::Missed
        } else {
            let run = DayRun { schedule, day: &fire.day, tables: None, requested_by: "schedule", lag };
            match latest(tx, fire.day.date).await? {
                Some(known) => Outcome::Known(known.job),
                None => match start(tx, &run, 1).await? {
                    Some(job) => Outcome::Started(job),
                    None => Outcome::Known(latest(tx, fire.day.date).await?.ok_or_else(|| being_exported(&run))?.job),
                },
            }
        };
        let (word, job) = match outcome {
            Outcome::Started(job) => ("STARTED", Some(job.0)),
            Outcome::Known(job) => ("KNOWN", Some(job.0)),
            Outcome::Missed => ("MISSED", None),
        };
        sqlx::query(include_str!("sql/days/fire.sql"))
            .bind(schedule)
            .bind(fire.at)
            .bind(fire.day.date)
            .bind(word)
            .bind(job)
            .execute(tx)
            .await
            .map_err(metadata_failure)?;
        Ok(outcome)
    }

    /// The job that exported a date last, if one ever did.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn latest(&self, date: NaiveDate) -> Result<Option<LatestRun>, Failure> {
        let mut connection = self.pool.acquire().await.map_err(metadata_failure)?;
        latest(&mut connection, date).await
    }

    /// Whether the summary of this job's day is written.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn is_closed(&self, job: JobId) -> Result<bool, Failure> {
        let closed: Option<bool> = sqlx::query_scalar(include_str!("sql/days/is_closed.sql"))
            .bind(job.0)
            .fetch_optional(&self.pool)
            .await
            .map_err(metadata_failure)?;
        Ok(closed.unwrap_or(true))
    }

    /// How a day stands.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn state(&self, date: NaiveDate) -> Result<DayState, Failure> {
        let found: Option<(Uuid, bool, bool, Vec<String>)> = sqlx::query_as(include_str!("sql/days/state.sql"))
            .bind(date)
            .fetch_optional(&self.pool)
            .await
            .map_err(metadata_failure)?;
        Ok(match found {
            None => DayState::Never,
            Some((job, false, ..)) => DayState::Open(JobId(job)),
            Some((_, _, true, _)) => DayState::Exported,
            Some((.., lacking)) => DayState::Failed(lacking),
        })
    }

    /// Exports a day now, for the first time or again.
    ///
    /// # Errors
    /// As [`Days::start`].
    pub async fn run(&self, run: &DayRun<'_>) -> Result<(JobId, i32), Failure> {
        let started = self.start(run).await?;
        started.tx.commit().await.map_err(metadata_failure)?;
        Ok((started.job, started.revision))
    }

    /// The same, when the caller has added what belongs to it and commits.
    ///
    /// # Errors
    /// `DAY_IN_PROGRESS` while an earlier job of the day has not ended; `RANGE_IN_FUTURE` before the day is over;
    /// `TABLE_NOT_OFFERED` for a table that the schedule does not export; `METADATA_UNAVAILABLE`.
    pub async fn start(&self, run: &DayRun<'_>) -> Result<StartedRun, Failure> {
        let mut tx = begin_transaction(&self.pool).await.map_err(metadata_failure)?;
        let not_over: bool = sqlx::query_scalar(include_str!("sql/days/not_over.sql"))
            .bind(run.day.window.end)
            .fetch_one(&mut *tx)
            .await
            .map_err(metadata_failure)?;
        if not_over {
            let (date, zone) = (run.day.date, &run.day.time_zone);
            let why = format!("{date} is not over in {zone}; a day is exported when it has ended");
            return Err(Failure::new(ErrorCode::RangeInFuture, why));
        }
        let not_scheduled: Option<String> = sqlx::query_scalar(include_str!("sql/days/not_scheduled.sql"))
            .bind(run.tables.unwrap_or_default())
            .fetch_optional(&mut *tx)
            .await
            .map_err(metadata_failure)?;
        if let Some(table) = not_scheduled {
            let why = format!(
                "the schedule does not export table '{table}'; name tables that are enabled and scheduled in export_tables"
            );
            return Err(Failure::new(ErrorCode::TableNotOffered, why));
        }
        let revision = match latest(&mut tx, run.day.date).await? {
            Some(LatestRun { ended: false, .. }) => return Err(being_exported(run)),
            Some(latest) => latest.revision + 1,
            None => 1,
        };
        let job = start(&mut tx, run, revision).await?.ok_or_else(|| being_exported(run))?;
        Ok(StartedRun { tx, job, revision })
    }
}

fn being_exported(run: &DayRun<'_>) -> Failure {
    Failure::new(
        ErrorCode::DayInProgress,
        format!("{} is being exported already; wait for that to end, or cancel it", run.day.date),
    )
}

async fn latest(connection: &mut PgConnection, date: NaiveDate) -> Result<Option<LatestRun>, Failure> {
    let found: Option<(Uuid, i32, bool)> = sqlx::query_as(include_str!("sql/days/latest.sql"))
        .bind(date)
        .fetch_optional(connection)
        .await
        .map_err(metadata_failure)?;
    Ok(found.map(|(job, revision, ended)| LatestRun { job: JobId(job), revision, ended }))
}

/// Starts this revision of a day. `None` when somebody else has just done it.
async fn start(tx: &mut PgConnection, run: &DayRun<'_>, revision: i32) -> Result<Option<JobId>, Failure> {
    let (job, Day { date, window, time_zone }) = (JobId::new(), run.day);
    let started: Option<i32> = sqlx::query_scalar(include_str!("sql/days/start_day.sql"))
        .bind(job.0)
        .bind(run.schedule)
        .bind(date)
        .bind(revision)
        .bind(time_zone)
        .bind(window.start)
        .bind(window.end)
        .fetch_optional(&mut *tx)
        .await
        .map_err(metadata_failure)?;
    if started.is_none() {
        return Ok(None);
    }
    sqlx::query(include_str!("sql/days/start_job.sql"))
        .bind(job.0)
        .bind(run.requested_by)
        .bind(window.start)
        .bind(window.end)
        .bind(run.tables)
        .bind(Sha256::digest(format!("{} {date} {revision}", run.schedule)).to_vec())
        .bind(run.lag.as_secs_f64())
        .execute(tx)
        .await
        .map_err(metadata_failure)?;
    Ok(Some(job))
}
