//! What administrators do to keep the service going: clear requests that are stuck, run days of the schedule and see
//! whether one is safely out, resend notifications that were given up, and ask the parts how they are.
//!
//! Whatever changes something is written to the audit in the same transaction.

pub mod doctor;
pub mod exported;
mod notices;
mod runs;
mod stuck;

pub use notices::{Notices, unknown_notification};
pub use runs::{ScheduledRuns, Todo, Wish};
pub use stuck::{Cleared, StuckRequests, unknown_request};
