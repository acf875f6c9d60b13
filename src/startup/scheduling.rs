//! What runs and reads the schedule.

use tokio_util::sync::CancellationToken;

use super::{Services, calendar, metadata};
use crate::config::Settings;
use crate::error::Failure;
use crate::jobs::coverage::Coverage;
use crate::jobs::days::Days;
use crate::schedule::Scheduler;

/// The name of the schedule that the settings describe.
const SCHEDULE: &str = "daily";

/// The calendar of the settings' schedule, for a command.
///
/// # Errors
/// As [`metadata`].
pub async fn coverage(settings: &Settings) -> Result<Coverage, Failure> {
    Ok(calendar(settings, &metadata(settings).await?))
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
