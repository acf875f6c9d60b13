//! What is due: when the schedule fires, and which day each fire exports.
//!
//! Timers only wake the process. What is due is decided from the metadata database: from the last fire that is decided
//! there to the database's own now, by the calendar of the schedule's time zone. Each fire is recorded with its job in one
//! transaction, so any number of replicas may decide at the same time. Nothing here runs an export.

mod calendar;
mod scheduler;

pub use calendar::{Calendar, CalendarError};
pub use scheduler::{CatchUp, Scheduler};
