//! Requests that are stuck, and what clearing one has come to.

use async_graphql::{Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{ExportError, RequestState};
use crate::jobs::model::StoredError;
use crate::jobs::{JobState, StalledJob};
use crate::upkeep::Cleared;

/// A request that is worked on although nothing of it has moved for a while.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct StalledRequest {
    /// The request.
    request_id: String,
    /// Where it is.
    state: Option<RequestState>,
    /// Who asked for it.
    requested_by: String,
    /// First second of its range, since 1970-01-01T00:00:00Z.
    start_time: i64,
    /// First second after its range, since 1970-01-01T00:00:00Z.
    end_time: i64,
    /// Its tables that are open.
    tables: Vec<String>,
    /// When anything of it last moved.
    since: DateTime<Utc>,
    /// How many seconds ago that was.
    idle_seconds: i64,
    /// When a worker of it was last heard of; null if none ever was.
    last_heartbeat: Option<DateTime<Utc>>,
    /// That worker, as the logs name it.
    worker: Option<String>,
    /// Pieces of its work that somebody holds.
    running: i64,
    /// Pieces of its work that wait for somebody.
    waiting: i64,
    /// Most attempts at one piece of its work.
    attempts: i32,
    /// Workers that were lost with it.
    crashes: i64,
    /// What the reaper, which takes work back from lost workers, has done.
    reaper: String,
    /// Why its last failed attempt failed; null if none did.
    last_error: Option<ExportError>,
}

impl From<StalledJob> for StalledRequest {
    fn from(job: StalledJob) -> Self {
        let reaper = job.reaper();
        let error = StoredError::of(job.error_code, job.error_message);
        Self {
            request_id: job.id.to_string(),
            state: JobState::parse(&job.state).map(Into::into),
            requested_by: job.requested_by,
            start_time: job.window_start.timestamp(),
            end_time: job.window_end.timestamp(),
            tables: job.tables,
            since: job.since,
            idle_seconds: (job.read_at - job.since).num_seconds(),
            last_heartbeat: job.last_heartbeat,
            worker: job.worker.map(|worker| worker.to_string()),
            running: job.running,
            waiting: job.waiting,
            attempts: job.attempts,
            crashes: job.crashes,
            reaper,
            last_error: error.as_ref().map(ExportError::from),
        }
    }
}

/// An answer to `clearStalledRequest`.
pub(in crate::api::graphql) struct ClearedRequest {
    cleared: Cleared,
}

impl ClearedRequest {
    pub(in crate::api::graphql) fn of(cleared: Cleared) -> Self {
        Self { cleared }
    }
}

/// What clearing a request has come to.
#[Object]
impl ClearedRequest {
    /// The request that was cleared.
    async fn request_id(&self) -> String {
        self.cleared.job.to_string()
    }

    /// Where it is now: FAILED as a rule. CANCELLING while a table of it is published whose manifest may be written
    /// already; that one is finished.
    async fn state(&self) -> RequestState {
        self.cleared.state.into()
    }

    /// The request that takes its place; null if none was asked for.
    async fn resubmitted_as(&self) -> Option<String> {
        self.cleared.resubmitted_as.map(|job| job.to_string())
    }

    /// Whether it had been cleared before this call.
    async fn already_cleared(&self) -> bool {
        self.cleared.already
    }
}
