//! What runs and reads the schedule.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Services, asked, calendar, metadata, store};
use crate::config::Settings;
use crate::error::Failure;
use crate::jobs::coverage::Coverage;
use crate::jobs::days::Days;
use crate::schedule::Scheduler;
use crate::upkeep::exported::Exported;

/// The name of the schedule that the settings describe.
const SCHEDULE: &str = "daily";

/// The calendar of the settings' schedule, for a command.
///
/// # Errors
/// As [`metadata`].
pub async fn coverage(settings: &Settings) -> Result<Coverage, Failure> {
    Ok(calendar(settings, &metadata(settings).await?))
}

/// Says whether days are safely out, for a command.
///
/// # Errors
/// As [`metadata`], what keeps the bucket from being reached, and `WAREHOUSE_DENIED` for an address that is none.
pub async fn exported(settings: &Settings) -> Result<Exported, Failure> {
    let coverage = coverage(settings).await?;
    Ok(Exported::new(coverage, Arc::new(store(settings).await?), asked(settings, settings.statement_timeout)?))
}

impl Services {
    /// The schedule of the settings.
    pub fn scheduler(&self) -> Scheduler {
        let schedule = &self.settings.schedule;
        let days = Days::new(self.pool.clone());
        Scheduler::new(SCHEDULE, schedule.calendar.clone(), schedule.catch_up, schedule.lag, days)
    }

    /// Decides what is due until `stop`, where this process has the role.
    pub(super) async fn schedule(&self, stop: &CancellationToken) -> Result<(), Failure> {
        if !self.settings.roles.scheduler {
            return Ok(());
        }
        self.scheduler().run(&self.settings.schedule.expression, stop).await
    }
}
