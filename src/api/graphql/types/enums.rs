//! The words for formats, kinds and states.

use async_graphql::Enum;

use crate::jobs::{self, JobKind, JobState};

/// The format of exported files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "jobs::ExportFormat")]
pub(in crate::api::graphql) enum ExportFormat {
    /// Apache Parquet.
    Parquet,
    /// CSV with a header (RFC 4180): NULL is an empty field, an empty text is "".
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// How exported files are compressed: Parquet page by page, the others as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "jobs::Compression")]
pub(in crate::api::graphql) enum Compression {
    /// zstd; what Parquet has when nothing is said.
    Zstd,
    /// snappy; for Parquet alone.
    Snappy,
    /// gzip.
    Gzip,
    /// None; what CSV and JSONL have when nothing is said.
    None,
}

/// What started an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "JobKind")]
pub(in crate::api::graphql) enum ExportKind {
    /// A request.
    OnDemand,
    /// A day of the schedule.
    Scheduled,
}

/// Where an export is, more finely than its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "JobState")]
pub(in crate::api::graphql) enum RequestState {
    /// Waits for one of the tenant's places.
    Queued,
    /// The warehouse is asked what there is to read.
    Planning,
    /// Tables are read.
    Running,
    /// Everything is read; files are being published.
    Finalizing,
    /// Ends as soon as the work on it has stopped.
    Cancelling,
    /// Every table is published.
    Completed,
    /// It ended without at least one table.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It was complete, and its files have been deleted since.
    Expired,
}

/// Where one table of an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "jobs::TableState")]
pub(in crate::api::graphql) enum TableState {
    /// It is being read, or waits for it.
    Extracting,
    /// It is read, and waits to be published.
    Ready,
    /// It is being published.
    Finalizing,
    /// Its files can be downloaded.
    Completed,
    /// It will not be published, for the reason given as its error.
    Failed,
    /// It was left out, for the reason given as its error.
    Skipped,
}
