//! What jobs, tables and partitions are, and the words that the outside reads for them.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use classification::TableName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::format::FileChoice;
use crate::error::ErrorCode;

/// The id of an export job: what `requestData` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub Uuid);

impl JobId {
    /// A new id, never used before; ids sort by the time they were made.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for JobId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// Whose jobs these are. Comes from an identity, never from a request's arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tenant(String);

impl Tenant {
    /// The tenant of an installation that has only one.
    pub const DEFAULT: &'static str = "default";

    /// A tenant of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

/// A half-open range of time `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First instant inside.
    pub start: DateTime<Utc>,
    /// First instant outside.
    pub end: DateTime<Utc>,
}

/// Declares an enum that is stored as text, once.
macro_rules! stored_enum {
    ($(#[$doc:meta])+ $name:ident { $($(#[$vdoc:meta])+ $variant:ident = $text:literal,)+ }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $(#[$doc])+
        pub enum $name { $($(#[$vdoc])+ $variant,)+ }

        impl $name {
            /// As the database stores it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Reads what the database stores.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(super) use stored_enum;

stored_enum! {
    /// What started a job.
    JobKind {
        /// A request.
        OnDemand = "on_demand",
        /// A day of the schedule.
        Scheduled = "scheduled",
    }
}

stored_enum! {
    /// Where a job is. The only ways on are drawn in `ARCHITECTURE.md`.
    JobState {
        /// Waits for a slot of its tenant.
        Queued = "QUEUED",
        /// A worker asks the warehouse and cuts partitions.
        Planning = "PLANNING",
        /// Partitions are extracted.
        Running = "RUNNING",
        /// Everything is extracted; tables are being published.
        Finalizing = "FINALIZING",
        /// To be cancelled as soon as its workers have let go.
        Cancelling = "CANCELLING",
        /// Every table is published.
        Completed = "COMPLETED",
        /// It ended without at least one table.
        Failed = "FAILED",
        /// It was cancelled; nothing more will be published.
        Cancelled = "CANCELLED",
        /// It was complete, and its files have been deleted since.
        Expired = "EXPIRED",
    }
}

impl JobState {
    /// The word that `requestStatus.status` has for it.
    pub fn status(self) -> &'static str {
        match self {
            Self::Queued | Self::Planning | Self::Running | Self::Finalizing | Self::Cancelling => "In Progress",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::Expired => "Expired",
        }
    }

    /// Whether nothing will change any more but expiry.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Expired)
    }
}

stored_enum! {
    /// Where one table of a job is.
    TableState {
        /// Its partitions are being extracted, or wait for it.
        Extracting = "EXTRACTING",
        /// Every partition is staged; it waits to be published.
        Ready = "READY",
        /// It is being published.
        Finalizing = "FINALIZING",
        /// Its manifest is written.
        Completed = "COMPLETED",
        /// It will not be published.
        Failed = "FAILED",
        /// It was left out, for the reason given as its error.
        Skipped = "SKIPPED",
    }
}

/// A code and a message as the database keeps them. The code may be one that a later version wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredError {
    /// See [`ErrorCode`].
    pub code: String,
    /// For the reader.
    pub message: String,
}

impl StoredError {
    /// Of a nullable pair of columns.
    pub fn of(code: Option<String>, message: Option<String>) -> Option<Self> {
        code.map(|code| Self { code, message: message.unwrap_or_default() })
    }

    /// Whether trying again can help; unknown codes say no.
    pub fn retryable(&self) -> bool {
        ErrorCode::ALL.iter().any(|known| known.as_str() == self.code && known.retryable())
    }
}

/// A published file: listed in a manifest, and therefore complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedFile {
    /// Its key in the bucket.
    pub key: String,
    /// Rows.
    pub rows: i64,
    /// Bytes.
    pub bytes: i64,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}

/// One table of a job, as the outside sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct TableView {
    /// The table.
    pub name: TableName,
    /// Where it is.
    pub state: TableState,
    /// 0 to 100; never falls.
    pub progress: f64,
    /// Rows so far; of a completed table, rows exported.
    pub rows: i64,
    /// Bytes staged so far; of a completed table, bytes published.
    pub bytes: i64,
    /// What may be downloaded; empty until its manifest is written.
    pub files: Vec<PublishedFile>,
    /// Why it failed or was skipped.
    pub error: Option<StoredError>,
}

/// A job, as the outside sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// What started it.
    pub kind: JobKind,
    /// Whose it is.
    pub tenant: Tenant,
    /// Who asked for it.
    pub requested_by: String,
    /// The time range.
    pub window: Window,
    /// What was said of its files.
    pub files: FileChoice,
    /// Where it is.
    pub state: JobState,
    /// 0.0 to 100.0; never falls; 100 exactly when completed or expired.
    pub progress: f64,
    /// Its tables, by name; empty until it is planned.
    pub tables: Vec<TableView>,
    /// Why it failed.
    pub error: Option<StoredError>,
    /// When it was asked for.
    pub queued_at: DateTime<Utc>,
    /// When its planning began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// The database's clock when this was read.
    pub read_at: DateTime<Utc>,
    /// What it waits for, if nothing of it may begin now. What runs of it goes on.
    pub pause: Option<Pause>,
}

/// Why nothing of a job begins for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// When it is looked at again.
    pub until: DateTime<Utc>,
    /// What is waited for.
    pub why: StoredError,
}

/// A row of `table_export_job_statuses`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct TableExportStatus {
    /// The job.
    pub job_id: Uuid,
    /// `on_demand` or `scheduled`.
    pub kind: String,
    /// Whose it is.
    pub tenant: String,
    /// The table.
    pub table_name: String,
    /// The day of the schedule; `None` on demand.
    pub export_date: Option<NaiveDate>,
    /// First instant of the range.
    pub window_start: DateTime<Utc>,
    /// First instant after the range.
    pub window_end: DateTime<Utc>,
    /// 1, and one more for each time a scheduled day was restated.
    pub revision: i32,
    /// `IN-PROGRESS`, `COMPLETED` or `FAILED`.
    pub status: String,
    /// Attempts at its partitions, all together.
    pub attempts: i32,
    /// Rows exported.
    pub row_count: Option<i64>,
    /// Bytes published.
    pub byte_count: Option<i64>,
    /// Where the manifest is.
    pub manifest_url: Option<String>,
    /// The policy that it was exported under.
    pub policy_hash: Option<String>,
    /// The day whose files its manifest lists, where the table has not changed since then.
    pub unchanged_since: Option<NaiveDate>,
    /// Why it failed.
    pub error_code: Option<String>,
    /// Why it failed, for the reader.
    pub error_message: Option<String>,
    /// When its first partition was claimed.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
}
