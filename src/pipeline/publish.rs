//! The publication of one table.
//!
//! Staged files go through the last gate, are copied under their final names, and then the manifest is written. It is
//! written last and once: before it there is nothing to download, and a finalizer that died at any step is repeated
//! with the same bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use classification::{ColumnKind, Decision, Predicate};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::day::unchanged;
use super::gate::{self, GateReport, Sought, TimeColumn};
use super::layout::instant;
use super::plan::TablePlan;
use super::underway::Underway;
use super::{Pipeline, Stopped, stopped};
use crate::error::{ErrorCode, Failure};
use crate::jobs::closing::Predecessor;
use crate::jobs::days::DayRevision;
use crate::jobs::{
    Compression, ExportFormat, Fidelity, FileForm, FileReport, Progress, PublishedFile, StagedPartition, TableTask,
};
use crate::storage::{ObjectKey, ObjectStore, PutOutcome};
use crate::warehouse::ScanSpec;

/// Files copied at once.
const AT_ONCE: usize = 4;

/// A manifest: what Redshift's `COPY … MANIFEST` reads, with more beside it. The text of the first finalizer that came
/// so far is kept until the table is published, so that a repetition writes the same, whatever its version or settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The files.
    pub entries: Vec<ManifestEntry>,
    /// Their columns.
    pub schema: ManifestSchema,
    /// Their sums.
    pub meta: FileMeta,
    /// Who wrote it.
    pub author: Author,
    /// The export that it belongs to.
    pub export: ExportInfo,
}

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// `s3://bucket/key`.
    pub url: String,
    /// What follows the last slash.
    pub name: String,
    /// A loader must fail without this file.
    pub mandatory: bool,
    /// Bytes and rows.
    pub meta: FileMeta,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// The time range of its rows, half-open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<[String; 2]>,
}

/// Bytes and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeta {
    /// Bytes.
    pub content_length: i64,
    /// Rows.
    pub record_count: i64,
}

/// The columns of a manifest's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestSchema {
    /// In the files' order.
    pub elements: Vec<ManifestColumn>,
}

/// A column of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub column_type: ManifestType,
}

/// A type in the words of the warehouses that load the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestType {
    /// Such as `bigint`.
    pub base: String,
}

/// The program that wrote a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// `data-exporter`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What a manifest says of its export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportInfo {
    /// The job.
    pub job_id: String,
    /// The table.
    pub table: String,
    /// The job's time range, half-open.
    pub window: [String; 2],
    /// The policy that it was exported under.
    pub policy_hash: String,
    /// Column by column: what was decided, and by which rule.
    pub decisions: Vec<Decision>,
    /// Findings of personal data that were removed, by column and entity.
    #[serde(default)]
    pub removed: BTreeMap<String, BTreeMap<String, u64>>,
    /// Values that a restriction was carried out on, by column.
    #[serde(default)]
    pub actions: BTreeMap<String, u64>,
    /// Values that are in the files otherwise than in the warehouse, by column, what was done and why.
    #[serde(default)]
    pub fidelity: Fidelity,
    /// What the columns hold, in their order, and which were searched for personal data.
    #[serde(default)]
    pub columns: Vec<ColumnInfo>,
    /// What they were searched for.
    #[serde(default)]
    pub sought: Sought,
    /// The column that tells a row's time, where it leaves as the warehouse has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeColumn>,
    /// `snapshot` when all files show one moment of the warehouse, `predicate` when only their conditions agree.
    pub consistency: String,
    /// The format of the files and their compression.
    #[serde(default = "parquet")]
    pub files: FilesInfo,
    /// What was done against formulas; only where the files are CSV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarded: Option<GuardInfo>,
    /// What the last gate has read.
    pub gate: GateReport,
    /// The day of the schedule, and which time it is exported; not on demand.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub day: Option<DayRevision>,
    /// The export whose files these are, since the table has not changed since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged_since: Option<UnchangedSince>,
    /// The manifest that this one takes the place of.
    pub supersedes: Option<Supersedes>,
}

/// The export whose files a manifest lists, where its table has not changed since then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnchangedSince {
    /// The job that wrote them.
    pub job_id: String,
    /// Its day and revision.
    #[serde(flatten)]
    pub day: DayRevision,
}

/// A manifest that another one has taken the place of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supersedes {
    /// The job that wrote it.
    pub job_id: String,
    /// Which time it was.
    pub revision: i32,
    /// The sums of its files.
    pub meta: FileMeta,
}

/// A column, for whoever reads its values again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// What kind of values it has.
    pub kind: ColumnKind,
    /// Whether its texts were searched for personal data.
    pub searched: bool,
}

/// How an export's files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesInfo {
    /// `parquet`, `csv` or `jsonl`.
    pub format: ExportFormat,
    /// `zstd`, `snappy`, `gzip` or `none`.
    pub compression: Compression,
}

impl From<FileForm> for FilesInfo {
    fn from(form: FileForm) -> Self {
        Self { format: form.format, compression: form.compression }
    }
}

/// What manifests mean that do not say it.
fn parquet() -> FilesInfo {
    FileForm::PARQUET.into()
}

/// What was done to the texts of CSV so that no spreadsheet takes them for formulas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardInfo {
    /// Whether texts were guarded at all; `false` is the opt-out.
    pub formulas: bool,
    /// Values that got a `'` before them, by column.
    pub values: BTreeMap<String, u64>,
}

/// Publishes a table whose partitions are all staged, checking as many files beside each other as `at_once` says.
/// Returns its files and the manifest's address.
pub(super) async fn publish(
    pipeline: &Pipeline,
    task: &TableTask,
    progress: &Arc<Progress>,
    at_once: &(dyn Fn() -> usize + Sync),
    underway: &Underway,
) -> Result<(Vec<PublishedFile>, String), Stopped> {
    let plan = TablePlan::read(task.plan.clone())?;
    let store = pipeline.store.as_ref();
    let files: Vec<PublishedFile> = task
        .staged
        .iter()
        .map(|staged| PublishedFile {
            key: pipeline.layout.file(&task.directory, &task.table, staged.ordinal, plan.form.extension()),
            rows: staged.row_count,
            bytes: staged.byte_count,
            sha256: staged.sha256.clone(),
        })
        .collect();

    let before = pipeline.queue.superseded(task).await.map_err(stopped)?;
    let (files, gate, since) = match unchanged(pipeline, task, &plan, before.is_some(), progress, at_once).await? {
        Some(unchanged) => (unchanged.files, unchanged.gate, Some(unchanged.since)),
        None => {
            let gate = gate::pass(store, &task.staged, &plan, pipeline.settings.gate_sample, progress, at_once).await?;
            copy(pipeline, task, &files, underway).await?;
            (files, gate, None)
        }
    };

    let key = ObjectKey::new(match &plan.day {
        Some(day) => pipeline.layout.scheduled_manifest(&day.folder),
        None => pipeline.layout.manifest(&task.directory),
    })?;
    let manifest = manifest(store.bucket(), task, &plan, &files, (before.as_ref(), since), gate)?;
    let text = serde_json::to_string(&manifest)
        .map_err(|_| Failure::new(ErrorCode::Internal, "the manifest cannot be written as JSON"))?;
    pipeline.queue.seal(task).await.map_err(stopped)?;
    let text = pipeline.queue.keep_manifest(task, text).await.map_err(stopped)?;
    match before {
        None => write_once(store, &key, Bytes::from(text)).await?,
        Some(before) => swap(store, &key, Bytes::from(text), &before).await?,
    }
    Ok((files, url(store.bucket(), key.as_str())))
}

/// Copies what is staged under its final names.
async fn copy(
    pipeline: &Pipeline,
    task: &TableTask,
    files: &[PublishedFile],
    underway: &Underway,
) -> Result<(), Stopped> {
    let keys: Vec<String> = files.iter().map(|file| file.key.clone()).collect();
    pipeline.queue.record_publication(task, &keys).await.map_err(stopped)?;
    stream::iter(task.staged.iter().zip(files))
        .map(Ok::<_, Stopped>)
        .try_for_each_concurrent(AT_ONCE, |(staged, file)| async move {
            let (from, to) = (ObjectKey::new(&staged.staging_key)?, ObjectKey::new(&file.key)?);
            // What the gate has read, and nothing that took its place since.
            underway.copy(pipeline, task, (from, &staged.etag), to).await
        })
        .await
}

/// Writes a manifest that must not exist. The same bytes that are there already are a success: somebody died after
/// writing them. Other bytes are an alarm, and stay.
async fn write_once(store: &dyn ObjectStore, key: &ObjectKey, bytes: Bytes) -> Result<(), Failure> {
    match store.put_if_absent(key, bytes.clone(), "application/json").await? {
        PutOutcome::Created => Ok(()),
        PutOutcome::AlreadyThere if store.get(key).await? == bytes => Ok(()),
        PutOutcome::AlreadyThere => {
            tracing::error!(%key, "a manifest with other content exists where one is to be written");
            Err(Failure::new(
                ErrorCode::ManifestConflict,
                format!(
                    "'{key}' exists with other content and was left alone; find out who wrote it before this range is requested again"
                ),
            ))
        }
    }
}

/// Writes a restated day's manifest in the place of the one that the database knows. The same bytes that are there
/// already are a success; anything else but that predecessor is an alarm, and stays.
async fn swap(store: &dyn ObjectStore, key: &ObjectKey, bytes: Bytes, before: &Predecessor) -> Result<(), Failure> {
    let there = store.head(key).await?;
    let found = match &there {
        Some(_) => store.get(key).await?,
        None => Bytes::new(),
    };
    if found == bytes {
        return Ok(());
    }
    let expected = serde_json::from_slice::<Manifest>(&found)
        .is_ok_and(|manifest| manifest.export.job_id == before.job_id.to_string());
    if let Some(there) = there.filter(|_| expected)
        && store.replace(key, &there.etag, bytes.clone(), "application/json").await? == PutOutcome::Created
    {
        return Ok(());
    }
    // The answer to a replacement may have been lost.
    if store.get(key).await? == bytes {
        return Ok(());
    }
    tracing::error!(%key, "another manifest is where the day's last one should be");
    Err(Failure::new(
        ErrorCode::ManifestConflict,
        format!(
            "'{key}' is not the manifest that job {} wrote and was left alone; find out who wrote it",
            before.job_id
        ),
    ))
}

fn manifest(
    bucket: &str,
    task: &TableTask,
    plan: &TablePlan,
    files: &[PublishedFile],
    (before, unchanged_since): (Option<&Predecessor>, Option<UnchangedSince>),
    mut gate: GateReport,
) -> Result<Manifest, Failure> {
    let entries = task
        .staged
        .iter()
        .zip(files)
        .map(|(staged, file)| {
            let scan: ScanSpec = serde_json::from_value(staged.scan.clone()).map_err(|_| {
                Failure::new(ErrorCode::Internal, "the partition was planned by another version of the exporter")
            })?;
            Ok(ManifestEntry {
                url: url(bucket, &file.key),
                name: file.key.rsplit('/').next().unwrap_or(&file.key).to_owned(),
                mandatory: true,
                meta: FileMeta { content_length: file.bytes, record_count: file.rows },
                sha256: file.sha256.clone(),
                window: scan.slice.map(|slice| [instant(slice.start), instant(slice.end)]),
            })
        })
        .collect::<Result<_, Failure>>()?;
    let elements = plan
        .policy
        .columns
        .iter()
        .zip(&plan.manifest_types)
        .map(|(column, base)| ManifestColumn {
            name: column.name.clone(),
            column_type: ManifestType { base: base.clone() },
        })
        .collect();
    let columns = plan.policy.columns.iter().map(|column| ColumnInfo {
        name: column.name.clone(),
        kind: column.kind,
        searched: column.scan,
    });
    let columns: Vec<ColumnInfo> = columns.collect();
    let sought = Sought::of(&plan.policy.pii_rules).map_err(|what| Failure::new(ErrorCode::Internal, what))?;
    let mut report = FileReport::default();
    task.staged.iter().for_each(|staged| report.add(&staged.report));
    Ok(Manifest {
        entries,
        schema: ManifestSchema { elements },
        meta: FileMeta {
            content_length: files.iter().map(|file| file.bytes).sum(),
            record_count: files.iter().map(|file| file.rows).sum(),
        },
        author: Author { name: "data-exporter".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        export: ExportInfo {
            job_id: task.job.to_string(),
            table: task.table.to_string(),
            window: [instant(plan.window.start), instant(plan.window.end)],
            policy_hash: plan.policy.hash.clone(),
            decisions: plan.policy.decisions.clone(),
            removed: report.removed,
            actions: report.actions,
            fidelity: report.fidelity,
            columns,
            sought,
            time: time_column(task, plan),
            consistency: consistency(&task.staged).to_owned(),
            files: plan.form.into(),
            guarded: (plan.form.format == ExportFormat::Csv)
                .then(|| GuardInfo { formulas: plan.form.formula_guard, values: std::mem::take(&mut gate.guarded) }),
            gate,
            day: plan.day.as_ref().map(|day| day.run),
            unchanged_since,
            supersedes: before.map(|before| Supersedes {
                job_id: before.job_id.to_string(),
                revision: before.revision,
                meta: FileMeta { content_length: before.byte_count, record_count: before.row_count },
            }),
        },
    })
}

/// Whether all files show one moment: what was read in one transaction, or in several under one snapshot.
fn consistency(staged: &[StagedPartition]) -> &'static str {
    match staged {
        [] | [_] => "snapshot",
        [first, others @ ..] => {
            let same = |other: &StagedPartition| other.snapshot_id == first.snapshot_id;
            if first.snapshot_id.is_some() && others.iter().all(same) { "snapshot" } else { "predicate" }
        }
    }
}

/// The time column, if its values in the files are the warehouse's, in every row.
fn time_column(task: &TableTask, plan: &TablePlan) -> Option<TimeColumn> {
    let scan: ScanSpec = serde_json::from_value(task.staged.first()?.scan.clone()).ok()?;
    let slice = scan.slice?;
    let column = plan.policy.columns.iter().find(|column| column.name == slice.column)?;
    let unchanged = column.care.is_empty()
        && column.cell == Predicate::Always
        && !column.scan
        && !plan.options.contains_key(&column.name);
    unchanged.then_some(TimeColumn { column: slice.column, unit: slice.unit, zone: slice.zone })
}

fn url(bucket: &str, key: &str) -> String {
    format!("s3://{bucket}/{key}")
}
