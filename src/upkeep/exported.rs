//! Is a table of a day safely out? For whoever takes rows out of the warehouse once they are exported.
//!
//! Three witnesses are heard: what the metadata database says was published, whether the bucket still has it, and how
//! many rows the warehouse has for that time now, under the policy that it was exported under. None is believed for
//! another: one that does not answer makes the question fail, and is never taken for a yes. Nothing is changed, no
//! exported file is read, and of the warehouse nothing but counts.

use std::cmp::Ordering;
use std::sync::Arc;

use chrono::NaiveDate;
use classification::{Predicate, TableName};
use futures::future::try_join_all;
use serde::Deserialize;

use crate::error::{ErrorCode, Failure};
use crate::jobs::coverage::{Coverage, Publication, TableOfDay, TableOfDayState};
use crate::jobs::{JobId, PublishedFile};
use crate::storage::{ObjectKey, ObjectStore, StorageError};
use crate::warehouse::{TimeSlice, Warehouse};

/// Days that are asked about at once, at most: each counts rows of the warehouse.
pub const MOST_DAYS: i64 = 31;
/// No manifest is larger: one entry of it is some 500 bytes.
const LARGEST_MANIFEST: u64 = 64 << 20;
/// Files that are looked at together.
const AT_ONCE: usize = 8;

/// Why a table of a day is not completely out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOut {
    /// It was never exported.
    NeverExported,
    /// It is being exported, for the first time or again.
    InProgress,
    /// Its latest revision failed.
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

impl NotOut {
    /// As it is written outside.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverExported => "NEVER_EXPORTED",
            Self::InProgress => "IN_PROGRESS",
            Self::Failed => "FAILED",
            Self::ManifestMissing => "MANIFEST_MISSING",
            Self::ManifestReplaced => "MANIFEST_REPLACED",
            Self::FileMissing => "FILE_MISSING",
            Self::FileChanged => "FILE_CHANGED",
            Self::LateRows => "LATE_ROWS",
            Self::RowsGone => "ROWS_GONE",
        }
    }
}

/// Whether a table of a day is out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOut {
    /// The table.
    pub table: TableName,
    /// The date, in the schedule's time zone.
    pub date: NaiveDate,
    /// Why it is not completely out; `None` exactly where it is.
    pub reason: Option<NotOut>,
    /// The latest revision.
    pub revision: Option<i32>,
    /// What was published; `None` where nothing was, or it does not count any more.
    pub published: Option<Published>,
}

/// What was published of a table of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The job.
    pub job: JobId,
    /// The manifest's address.
    pub manifest: String,
    /// Whether the manifest is there, is that of the job, lists the files that were published, and each of these has its size.
    pub verified: bool,
    /// Rows exported.
    pub rows: i64,
    /// Rows that the warehouse has now of that day, under the same policy; of the whole table where it has no time. `None`
    /// where the manifest is not verified.
    pub rows_now: Option<i64>,
    /// Rows of that day that the policy holds back: they are in no export. `None` where the manifest is not verified.
    pub rows_held_back: Option<i64>,
}

impl TableOut {
    /// Whether it is in the bucket as it was published, late rows or not.
    pub fn is_exported(&self) -> bool {
        self.published.as_ref().is_some_and(|published| published.verified)
    }

    /// Whether it is in the bucket, with every row that the warehouse has now.
    pub fn is_complete(&self) -> bool {
        self.is_exported() && self.reason.is_none()
    }

    /// How many rows more the warehouse has now than were exported; less than 0 where rows have gone.
    pub fn late_rows(&self) -> Option<i64> {
        let published = self.published.as_ref()?;
        Some(published.rows_now? - published.rows)
    }
}

/// Answers for whoever archives the warehouse.
#[derive(Debug, Clone)]
pub struct Exported {
    coverage: Coverage,
    store: Arc<dyn ObjectStore>,
    warehouse: Option<Arc<dyn Warehouse>>,
}

/// What is read of a manifest. Anything may be in it.
#[derive(Deserialize)]
struct Manifest {
    entries: Vec<Entry>,
    export: Export,
}

#[derive(Deserialize)]
struct Entry {
    url: String,
    meta: Size,
}

#[derive(Deserialize)]
struct Size {
    content_length: i64,
    record_count: i64,
}

/// Rows of a day in the warehouse now.
#[derive(Clone, Copy)]
struct Counts {
    /// Those that the policy of the export lets through.
    exported: i64,
    /// All.
    all: i64,
}

#[derive(Deserialize)]
struct Export {
    job_id: String,
    table: String,
}

impl Exported {
    /// Over the calendar of the schedule, the bucket and the warehouse; without a warehouse what was published is answered
    /// with `SETTINGS_INVALID`.
    pub fn new(coverage: Coverage, store: Arc<dyn ObjectStore>, warehouse: Option<Arc<dyn Warehouse>>) -> Self {
        Self { coverage, store, warehouse }
    }

    /// Whether a table is out, day by day from `from` to `to`, both included. Dates that the schedule's zone has skipped
    /// are left out.
    ///
    /// # Errors
    /// `RANGE_INVALID`, `RANGE_TOO_LONG` for more than [`MOST_DAYS`], `METADATA_UNAVAILABLE`, and the store's and the
    /// warehouse's own, `WAREHOUSE_TIMEOUT` and `REPLICA_BEHIND` among them.
    pub async fn days(&self, table: &TableName, from: NaiveDate, to: NaiveDate) -> Result<Vec<TableOut>, Failure> {
        let days = self.coverage.table(table, (from, to), MOST_DAYS).await?;
        let mut found = Vec::with_capacity(days.len());
        for day in days {
            found.push(self.day(table, day).await?);
        }
        Ok(found)
    }

    async fn day(&self, table: &TableName, day: TableOfDay) -> Result<TableOut, Failure> {
        let (revision, reason, published) = match &day.state {
            TableOfDayState::Never => (None, Some(NotOut::NeverExported), None),
            TableOfDayState::InProgress { revision } => (*revision, Some(NotOut::InProgress), None),
            TableOfDayState::Failed { revision, .. } => (Some(*revision), Some(NotOut::Failed), None),
            TableOfDayState::Published(publication) => {
                let problem = self.problem(table, publication).await?;
                let counts = match problem {
                    Some(_) => None,
                    None => Some(self.count(table, &day, publication).await?),
                };
                let counted = counts.and_then(|counts| match counts.exported.cmp(&publication.row_count) {
                    Ordering::Equal => None,
                    Ordering::Greater => Some(NotOut::LateRows),
                    Ordering::Less => Some(NotOut::RowsGone),
                });
                let published = Published {
                    job: publication.job,
                    manifest: publication.manifest.clone(),
                    verified: problem.is_none(),
                    rows: publication.row_count,
                    rows_now: counts.map(|counts| counts.exported),
                    rows_held_back: counts.map(|counts| counts.all - counts.exported),
                };
                (Some(publication.revision), problem.or(counted), Some(published))
            }
        };
        Ok(TableOut { table: table.clone(), date: day.date, reason, revision, published })
    }

    /// What is wrong with what the bucket has of a publication.
    async fn problem(&self, table: &TableName, publication: &Publication) -> Result<Option<NotOut>, Failure> {
        let store = self.store.as_ref();
        let home = format!("s3://{}/", store.bucket());
        let key = publication.manifest.strip_prefix(&home).ok_or_else(|| {
            let why = format!("the manifest is at {}, and this process looks into {home}", publication.manifest);
            Failure::new(ErrorCode::SettingsInvalid, format!("{why}; set EXPORTER_BUCKET to the bucket of the files"))
        })?;
        let key = ObjectKey::new(key)?;
        let Some(there) = store.head(&key).await? else { return Ok(Some(NotOut::ManifestMissing)) };
        if there.size > LARGEST_MANIFEST {
            return Ok(Some(NotOut::ManifestReplaced));
        }
        let bytes = match store.get(&key).await {
            Ok(bytes) => bytes,
            // Deleted since it was looked at.
            Err(StorageError::NotFound { .. }) => return Ok(Some(NotOut::ManifestMissing)),
            Err(error) => return Err(error.into()),
        };
        let ours = serde_json::from_slice(&bytes).is_ok_and(|manifest| is_of(&manifest, table, publication, &home));
        if !ours {
            return Ok(Some(NotOut::ManifestReplaced));
        }
        for files in publication.files.chunks(AT_ONCE) {
            let found = try_join_all(files.iter().map(|file| look(store, file))).await?;
            if let Some(problem) = found.into_iter().flatten().next() {
                return Ok(Some(problem));
            }
        }
        Ok(None)
    }

    /// How many rows the warehouse has now for what was published.
    async fn count(&self, table: &TableName, day: &TableOfDay, publication: &Publication) -> Result<Counts, Failure> {
        let warehouse = self.warehouse.as_deref().ok_or_else(|| {
            let why =
                "this process knows no warehouse, so it cannot count what is there; set EXPORTER_WAREHOUSE_URL for it";
            Failure::new(ErrorCode::SettingsInvalid, why)
        })?;
        let window = publication.window;
        let slice = publication.slice.clone().map(serde_json::from_value::<TimeSlice>).transpose().map_err(|_| {
            let why =
                format!("'{table}' of {} was planned by another version of the exporter; export it again", day.date);
            Failure::new(ErrorCode::Internal, why)
        })?;
        // The slice is that of one file: the day is all of them.
        let slice = slice.map(|slice| TimeSlice { start: window.start, end: window.end, ..slice });
        // A standby without the last rows would make the export look complete.
        warehouse.ready(day.read_at).await?;
        let conditions = [publication.rows.clone(), Predicate::Always];
        match warehouse.count(table, slice.as_ref(), &conditions).await?.as_slice() {
            [exported, all] => Ok(Counts { exported: *exported, all: *all }),
            _ => Err(Failure::new(ErrorCode::Internal, "other counts than conditions")),
        }
    }
}

/// Whether a manifest is the one of this publication: of its job and table, with exactly its files.
fn is_of(manifest: &Manifest, table: &TableName, publication: &Publication, home: &str) -> bool {
    let listed = |file: &PublishedFile| {
        manifest.entries.iter().any(|entry| {
            entry.url.strip_prefix(home) == Some(file.key.as_str())
                && (entry.meta.content_length, entry.meta.record_count) == (file.bytes, file.rows)
        })
    };
    manifest.export.job_id == publication.job.to_string()
        && manifest.export.table == table.to_string()
        && manifest.entries.len() == publication.files.len()
        && publication.files.iter().all(listed)
}

/// What is wrong with one file, as far as the store knows without reading it.
async fn look(store: &dyn ObjectStore, file: &PublishedFile) -> Result<Option<NotOut>, Failure> {
    Ok(match store.head(&ObjectKey::new(&file.key)?).await? {
        None => Some(NotOut::FileMissing),
        Some(there) if i64::try_from(there.size) != Ok(file.bytes) => Some(NotOut::FileChanged),
        Some(_) => None,
    })
}
