//! Days of the schedule that somebody wants exported: never before they are over, one job of a day at a time, and each wish
//! in the audit.

use chrono::NaiveDate;
use serde_json::json;

use crate::error::{ErrorCode, Failure};
use crate::identity::{Action, Actor, AuditLog};
use crate::jobs::days::{DayRun, DayState};
use crate::jobs::{JobId, Tenant, metadata_failure};
use crate::schedule::Scheduler;

/// Which days, and what of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// What is not exported: the whole day, or of one that failed the tables that did.
    Missing,
    /// Of days that failed the tables that did, and nothing else.
    Failed,
    /// The day as it is now, whatever was exported before.
    Again,
}

/// What is to be done of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Todo {
    /// Nothing: it is as it was wished.
    Nothing,
    /// An earlier job of it goes on.
    Join(JobId),
    /// A job has begun.
    Started(JobId),
}

/// Starts days of the schedule.
#[derive(Debug, Clone)]
pub struct ScheduledRuns {
    scheduler: Scheduler,
}

impl ScheduledRuns {
    /// Of this schedule.
    pub fn new(scheduler: Scheduler) -> Self {
        Self { scheduler }
    }

    /// Exports a day now, these tables of it or all, whatever was exported before. Returns its job.
    ///
    /// # Errors
    /// `DAY_IN_PROGRESS`, `RANGE_IN_FUTURE` before the day is over, `TABLE_NOT_OFFERED`, `METADATA_UNAVAILABLE`.
    pub async fn run(&self, date: NaiveDate, tables: Option<&[String]>, by: &Actor) -> Result<JobId, Failure> {
        let day = self.scheduler.day(date)?;
        let run = DayRun {
            schedule: self.scheduler.name(),
            day: &day,
            tables,
            requested_by: &by.name,
            lag: std::time::Duration::ZERO,
        };
        let mut started = self.scheduler.days().start(&run).await?;
        let target = date.to_string();
        let action = Action {
            tenant: &Tenant::default(),
            action: "day.run",
            target: &target,
            before: None,
            after: Some(json!({"job": started.job.to_string(), "revision": started.revision, "tables": tables})),
        };
        AuditLog::record(&mut started.tx, by, action).await?;
        started.tx.commit().await.map_err(metadata_failure)?;
        Ok(started.job)
    }

    /// Does what is wished of a day. With tables named, these are exported again.
    ///
    /// # Errors
    /// As [`ScheduledRuns::run`].
    pub async fn ensure(
        &self,
        date: NaiveDate,
        wish: Wish,
        tables: Option<&[String]>,
        by: &Actor,
    ) -> Result<Todo, Failure> {
        let state = self.scheduler.days().state(date).await?;
        let failed = match (&state, wish) {
            (DayState::Open(job), _) => return Ok(Todo::Join(*job)),
            (DayState::Exported, Wish::Missing) if tables.is_none() => return Ok(Todo::Nothing),
            (DayState::Exported | DayState::Never, Wish::Failed) => return Ok(Todo::Nothing),
            (DayState::Failed(failed), Wish::Missing | Wish::Failed) if !failed.is_empty() => Some(failed.as_slice()),
            _ => None,
        };
        match self.run(date, tables.or(failed), by).await {
            Ok(job) => Ok(Todo::Started(job)),
            // Somebody else has started it in this moment.
            Err(failure) if failure.code == ErrorCode::DayInProgress => {
                match self.scheduler.days().state(date).await? {
                    DayState::Open(job) => Ok(Todo::Join(job)),
                    _ => Err(failure),
                }
            }
            Err(failure) => Err(failure),
        }
    }
}
