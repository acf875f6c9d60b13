//! The durable queue: jobs, their tables and partitions, who works on them, and what the outside is told of them.
//!
//! PostgreSQL holds every job; there is no other broker and no leader. Work is claimed with a lease whose epoch
//! fences every later write: a worker that lost its lease changes nothing, whatever it believes. Only the database's
//! clock counts. This module knows no object store and no warehouse.

mod cancel;
pub mod closing;
pub mod coverage;
pub mod days;
mod ending;
mod failure;
pub mod format;
pub mod heartbeat;
mod history;
pub mod model;
pub mod outbox;
mod progress;
pub mod queue;
mod range;
mod report;
pub mod requests;
mod retention;
mod snapshots;
pub mod stalled;
mod submission;
mod sweep;
mod transaction;
mod view;

pub(crate) use failure::metadata_failure;
pub use format::{Compression, ExportFormat, FileChoice, FileForm};
pub use heartbeat::{Heartbeat, Lease};
pub use model::{
    JobId, JobKind, JobState, JobView, Pause, PublishedFile, TableExportStatus, TableState, TableView, Tenant, Window,
};
pub use progress::Progress;
pub use queue::{
    Claim, PartitionTask, PlanTask, PlannedTable, Queue, QueueError, QueueSettings, Retry, StagedObject,
    StagedPartition, TableFate, TableTask,
};
pub use report::{Fidelity, FileReport};
pub use requests::{ExportableTable, NewRequest, Page, Requests, StatusFilter};
pub use retention::{ToPurge, ToRetain};
pub use snapshots::SharedSnapshot;
pub use stalled::{Clearing, StalledJob};
pub use sweep::{Leftover, Unpublished};
pub(crate) use transaction::begin_transaction;
