//! Tables: those that may be exported, and those of one export.

use async_graphql::SimpleObject;

use super::{Compression, ExportFormat, Long, TableState};
use crate::jobs::model::StoredError;
use crate::jobs::{ExportableTable, TableView};

/// A table that may be exported.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct ExportTable {
    /// Its name: `table` for the schema public, else `schema.table`.
    name: String,
    /// Whether `requestData` exports it. One without a time column cannot be named, and is skipped when none is.
    on_demand: bool,
    /// Whether the schedule exports it.
    scheduled: bool,
    /// The column that time ranges are cut by; null: the table is exported whole, by the schedule only.
    time_column: Option<String>,
    /// The format of its files where a request names none; null when this version cannot write the one that is set.
    format: Option<ExportFormat>,
    /// How files of that format are compressed where a request does not say it; null when this version cannot write
    /// the one that is set.
    compression: Option<Compression>,
}

impl From<ExportableTable> for ExportTable {
    fn from(table: ExportableTable) -> Self {
        Self {
            name: table.name.to_string(),
            on_demand: table.on_demand,
            scheduled: table.scheduled,
            time_column: table.time_column,
            format: table.format.map(Into::into),
            compression: table.compression.map(Into::into),
        }
    }
}

/// One table of an export.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct TableStatus {
    /// Its name.
    name: String,
    /// Where it is.
    status: TableState,
    /// 0.0 to 100.0; never falls.
    progress: f64,
    /// Rows so far; when completed, rows in its files.
    rows: Long,
    /// Bytes so far; when completed, bytes of its files.
    bytes: Long,
    /// Why it failed or was skipped.
    error: Option<ExportError>,
}

impl From<&TableView> for TableStatus {
    fn from(table: &TableView) -> Self {
        Self {
            name: table.name.to_string(),
            status: table.state.into(),
            progress: table.progress,
            rows: Long(table.rows),
            bytes: Long(table.bytes),
            error: table.error.as_ref().map(ExportError::from),
        }
    }
}

/// Why an export, or a table of it, ended without files.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct ExportError {
    /// Stable, in SCREAMING_SNAKE_CASE; each has a page in the documentation.
    code: String,
    /// One or two sentences for the reader.
    message: String,
    /// Whether the same request may succeed later without anybody changing anything.
    retryable: bool,
}

impl From<&StoredError> for ExportError {
    fn from(error: &StoredError) -> Self {
        Self { code: error.code.clone(), message: error.message.clone(), retryable: error.retryable() }
    }
}
