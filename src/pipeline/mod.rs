//! The run of an export, in the order of its stages:
//!
//! ```text
//! plan ─► extract ─► protect ─► encode ─► upload ─► publish
//! ```
//!
//! A worker claims from the queue and walks these stages. The stages know the traits of the warehouse and the store,
//! not their insides; what they stage nobody outside can see, and what they publish begins to exist with its manifest.

mod day;
pub mod encode;
mod extract;
pub mod gate;
mod layout;
mod options;
mod plan;
pub mod protect;
mod publish;
mod retention;
mod slices;
mod snapshot;
mod standby;
mod sweep;
mod underway;
mod upload;
mod watch;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use classification::actions::Pseudonymiser;

use crate::error::{ErrorCode, Failure};
use crate::jobs::{Queue, QueueError, Retry};
use crate::rules::RuleStore;
use crate::storage::ObjectStore;
use crate::warehouse::Warehouse;

pub use layout::Layout;
pub use plan::TablePlan;
pub use publish::{Manifest, ManifestEntry};
pub use retention::{Retained, archive, retain};
pub use worker::{Worker, run_job};

/// What every stage works with.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The queue, as this process.
    pub queue: Queue,
    /// The rules.
    pub rules: RuleStore,
    /// Where the data is.
    pub warehouse: Arc<dyn Warehouse>,
    /// Where the files go.
    pub store: Arc<dyn ObjectStore>,
    /// Names of objects.
    pub layout: Layout,
    /// Makes pseudonyms; `None` in a process that was given no key, where a policy that asks for them fails. Planning
    /// reads from it whether there is one.
    pub pseudonyms: Option<Pseudonymiser>,
    /// How it is done.
    pub settings: PipelineSettings,
}

/// How the stages are sized and timed.
#[derive(Debug, Clone, Copy)]
pub struct PipelineSettings {
    /// Partitions that this process extracts at once.
    pub concurrent_partitions: usize,
    /// What a partition is to send, about.
    pub partition_target_bytes: u64,
    /// How long a scan's first row may take.
    pub first_row_timeout: Duration,
    /// The share of row groups whose texts the last gate searches: more than 0, at most 1, which is all.
    pub gate_sample: f64,
    /// Whether texts of CSV are kept from being taken for formulas by a spreadsheet.
    pub formula_guard: bool,
    /// How long an attempt may go without progress.
    pub stall: Duration,
    /// How long files of jobs on demand are kept.
    pub keep: Duration,
    /// How long requests that ended, and have nothing left in the bucket, stay in the queue's tables.
    pub history: Duration,
    /// How long to wait before a second attempt; doubled for each further one.
    pub retry_pause: Duration,
    /// How long a job waits for a standby before it is looked at again.
    pub standby_pause: Duration,
}

impl Default for PipelineSettings {
    fn default() -> Self {
        Self {
            concurrent_partitions: 2,
            partition_target_bytes: 256 << 20,
            first_row_timeout: Duration::from_secs(300),
            gate_sample: 1.0,
            formula_guard: true,
            stall: Duration::from_secs(300),
            keep: Duration::from_secs(7 * 86_400),
            history: Duration::from_secs(400 * 86_400),
            retry_pause: Duration::from_secs(1),
            standby_pause: Duration::from_secs(2),
        }
    }
}

/// Why a stage did not finish.
#[derive(Debug)]
enum Stopped {
    /// It failed.
    Failed(Failure),
    /// The lease is somebody else's now: leave without a word.
    Lost,
    /// This process is to end: give the work back.
    Released,
    /// The work's job is being ended: give the work up.
    Ending,
}

impl<E: Into<Failure>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A queue's refusal: a lost lease is no failure of the work.
fn stopped(error: QueueError) -> Stopped {
    match error {
        QueueError::LeaseLost(_) => Stopped::Lost,
        QueueError::Ending(_) => Stopped::Ending,
        other => Stopped::Failed(other.into()),
    }
}

impl PipelineSettings {
    /// Whether and when a failed attempt is made again.
    fn retry(&self, failure: &Failure, attempt: i32) -> Retry {
        match failure.code {
            // What would fail in the same way. A changed table is planned anew by the next request.
            ErrorCode::TypeUnsupported
            | ErrorCode::ValueUnrepresentable
            | ErrorCode::TableNotFound
            | ErrorCode::SchemaChanged
            | ErrorCode::RulesInvalid
            | ErrorCode::NothingExportable
            | ErrorCode::NoTables
            | ErrorCode::PolicyBreach
            | ErrorCode::PseudonymKeyMissing
            | ErrorCode::GateRefused
            | ErrorCode::GateFoundPersonalData
            | ErrorCode::ManifestConflict
            | ErrorCode::BucketNotFound => Retry::Never,
            _ => {
                let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(6);
                // Workers that failed together do not come back together.
                Retry::After(self.retry_pause.mul_f64(f64::from(1_u32 << doublings) * rand::random_range(0.75..1.25)))
            }
        }
    }
}
