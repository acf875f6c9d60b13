//! What runs and reads the schedule.

use tokio_util::sync::CancellationToken;

use super::Services;
use crate::error::Failure;
use crate::jobs::days::Days;
use crate::schedule::Scheduler;

/// The name of the schedule that the settings describe.
const SCHEDULE: &str = "daily";

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
