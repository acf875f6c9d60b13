//! Whether a table of a day is out.

use async_graphql::{Enum, SimpleObject};

use super::{Date, Long};
use crate::upkeep::exported::{self, TableOut};

/// Why a table of a day is not completely out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "exported::NotOut")]
pub(in crate::api::graphql) enum NotOut {
    /// It was never exported.
    NeverExported,
    /// It is being exported, for the first time or again.
    InProgress,
    /// Its latest revision failed; see `tableExportJobStatuses`.
    Failed,
    /// There is no object where its manifest was written.
    ManifestMissing,
    /// There is something else than the manifest of this export.
    ManifestReplaced,
    /// A file that its manifest lists is not there.
    FileMissing,
    /// A file has another size than its manifest says.
    FileChanged,
    /// It is out, and the warehouse has more rows for that time now: they came late.
    LateRows,
    /// It is out, and the warehouse has fewer rows for that time now, so that nobody can tell by their number whether others
    /// came late.
    RowsGone,
}

/// Whether a table of a day is out: what was published, whether the bucket still has it, and how many rows the warehouse
/// has for that day now.
#[derive(SimpleObject)]
pub(in crate::api::graphql) struct ExportedTable {
    /// The table.
    table: String,
    /// The day, in the schedule's time zone.
    date: Date,
    /// Whether it is in the bucket as it was published: `manifestVerified`, and no later revision has failed or is under
    /// way. Rows may have come late.
    exported: bool,
    /// Whether it is in the bucket with as many rows as the warehouse has now. Only then may the warehouse let go of them.
    complete: bool,
    /// Why it is not complete; null exactly where it is.
    reason: Option<NotOut>,
    /// The latest revision.
    revision: Option<i32>,
    /// The export that published it.
    request_id: Option<String>,
    /// Where its manifest was written.
    manifest_url: Option<String>,
    /// Whether the manifest is there, is that of the export, lists the files that were published, and each of these has the
    /// size that it lists.
    manifest_verified: bool,
    /// Rows exported.
    rows_exported: Option<Long>,
    /// Rows that the warehouse has of that day now, under the policy that it was exported under; of the whole table where it
    /// has no time column. Null where the manifest is not verified.
    rows_now: Option<Long>,
    /// Rows that the warehouse has of that day now and that the same policy holds back, whoever's they are. They are in no
    /// export, so `complete` says nothing of them.
    rows_held_back: Option<Long>,
    /// How many rows more the warehouse has than were exported; less than 0 where rows have gone.
    late_rows: Option<Long>,
}

impl From<TableOut> for ExportedTable {
    fn from(found: TableOut) -> Self {
        let published = found.published.as_ref();
        Self {
            table: found.table.to_string(),
            date: Date(found.date),
            exported: found.is_exported(),
            complete: found.is_complete(),
            reason: found.reason.map(Into::into),
            revision: found.revision,
            request_id: published.map(|published| published.job.to_string()),
            manifest_url: published.map(|published| published.manifest.clone()),
            manifest_verified: found.is_exported(),
            rows_exported: published.map(|published| Long(published.rows)),
            rows_now: published.and_then(|published| published.rows_now).map(Long),
            rows_held_back: published.and_then(|published| published.rows_held_back).map(Long),
            late_rows: found.late_rows().map(Long),
        }
    }
}
