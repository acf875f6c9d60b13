//! One partition, from the warehouse to a staged object.
//!
//! Reading, encoding and uploading run side by side with a batch or two and a part or two between them, so the store's
//! pace reaches the warehouse's socket. Protecting and encoding have a thread of their own. Nothing touches a disk.

use std::sync::atomic::Ordering;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::day::Content;
use super::encode::{Encoder, encoder};
use super::plan::TablePlan;
use super::protect::Protection;
use super::underway::Underway;
use super::upload::{Parts, upload};
use super::{Pipeline, Stopped, stopped};
use crate::error::{ErrorCode, Failure};
use crate::jobs::{FileReport, PartitionTask, Progress, SharedSnapshot, StagedObject};
use crate::storage::{ObjectKey, UploadId};
use crate::warehouse::{BatchStream, FidelityCount, HeldBack, ScanContext, ScanSpec};

/// Batches between reading and encoding.
const BATCHES_WAITING: usize = 1;
/// Parts between encoding and uploading.
const PARTS_WAITING: usize = 1;

/// What the encoder is fed. The end is said, not inferred: a reader that failed just falls silent.
enum Feed {
    Batch(RecordBatch),
    End,
}

/// A file that has been encoded to its end.
struct EncodedFile {
    rows: u64,
    size: u64,
    sha256: String,
    report: FileReport,
}

/// Extracts one partition into an object of its own, under this snapshot if it can be read. What moves is counted in
/// `progress`.
pub(super) async fn extract(
    pipeline: &Pipeline,
    task: &PartitionTask,
    snapshot: Option<SharedSnapshot>,
    progress: &Progress,
    underway: &Underway,
) -> Result<StagedObject, Stopped> {
    let plan = TablePlan::read(task.plan.clone())?;
    let scan: ScanSpec = serde_json::from_value(task.scan.clone()).map_err(|_| {
        Failure::new(ErrorCode::Internal, "the partition was planned by another version of the exporter")
    })?;
    let context = ScanContext {
        application_name: format!("data-exporter {}", task.job),
        first_row_timeout: pipeline.settings.first_row_timeout,
        held_back: HeldBack::counted_in(progress.held_back_counter()),
        snapshot: snapshot.as_ref().and_then(|snapshot| snapshot.token.clone()),
    };
    let stream = pipeline.warehouse.scan(&scan, &context).await?;
    let read_under = snapshot.filter(|_| stream.is_of_snapshot()).map(|snapshot| snapshot.id);
    // A policy that cannot be carried out fails here, before there is anything that could leave, and so does a form
    // that has no place for a type.
    let protection = Protection::compile(&plan.policy, &scan, &stream.schema(), pipeline.pseudonyms.as_ref())?;
    let metadata = metadata(task, &plan, &scan);
    let encoder = encoder(plan.form, &protection.schema(), &plan.policy.columns, metadata)?;
    let compared = plan.day.as_ref().is_some_and(|day| day.when_changed);
    let content = if compared { Content::of(&protection.schema()) } else { None };
    let shape = Shape { protection, encoder, content };

    let key = pipeline.layout.staging(task.job, &task.table, task.id, task.epoch);
    let key = ObjectKey::new(key)?;
    pipeline.queue.record_attempt(task, key.as_str()).await.map_err(stopped)?;
    let id = underway.open(pipeline, task, &key, plan.form.media_type()).await?;

    let done = transfer(pipeline, task, shape, stream, progress, &key, &id).await;
    if done.is_err() {
        // Clean-up would do it too, later; a store that is away makes no difference to the failure.
        let _ = pipeline.store.abort_multipart(&key, &id).await;
    }
    done.map(|staged| StagedObject { snapshot: read_under, ..staged })
}

/// What makes batches a file.
struct Shape {
    protection: Protection,
    encoder: Box<dyn Encoder>,
    /// Which rows it is made of, where that is asked.
    content: Option<Content>,
}

/// The second half of extracting, so that its failure can be cleaned up.
async fn transfer(
    pipeline: &Pipeline,
    task: &PartitionTask,
    shape: Shape,
    stream: Box<dyn BatchStream>,
    progress: &Progress,
    key: &ObjectKey,
    id: &UploadId,
) -> Result<StagedObject, Stopped> {
    let (feed, fed) = mpsc::channel(BATCHES_WAITING);
    let (ready, parts) = mpsc::channel(PARTS_WAITING);
    let encoding = async {
        tokio::task::spawn_blocking(move || encode(shape, fed, ready))
            .await
            .map_err(|_| Failure::new(ErrorCode::Internal, "encoding stopped unexpectedly"))?
    };
    let uploading = async { upload(pipeline.store.as_ref(), key, id, parts).await.map_err(Failure::from) };
    let reading = read(stream, feed, progress);
    let (read, encoded, uploaded) = tokio::join!(reading, encoding, uploading);
    // The first cause counts: a reader that failed ends the encoder, an uploader that failed ends both.
    let fidelity = read?;
    let uploaded = uploaded?;
    let mut encoded = encoded?.ok_or_else(|| Failure::new(ErrorCode::Internal, "encoding ended before its input"))?;
    for counted in &fidelity {
        encoded.report.changed(&counted.column, &counted.action, &counted.reason, counted.count);
    }
    let meta = pipeline.store.complete_multipart(key, id, &uploaded, encoded.size).await?;
    count_protection(task, &encoded.report);
    Ok(StagedObject {
        staging_key: key.to_string(),
        rows: count(encoded.rows)?,
        bytes: count(encoded.size)?,
        sha256: encoded.sha256,
        etag: meta.etag,
        snapshot: None,
        report: encoded.report,
    })
}

/// Counts what protection and the files' types did: by table, column and entity, never by value.
fn count_protection(task: &PartitionTask, report: &FileReport) {
    let table = task.table.to_string();
    for (column, entities) in &report.removed {
        for (entity, &count) in entities {
            let labels = [("table", table.clone()), ("column", column.clone()), ("entity", entity.clone())];
            metrics::counter!("exporter_pii_removed_total", &labels).increment(count);
        }
    }
    for (column, done) in &report.fidelity {
        for (action, reasons) in done {
            let labels = [("table", table.clone()), ("column", column.clone()), ("action", action.clone())];
            metrics::counter!("exporter_values_unfaithful_total", &labels).increment(reasons.values().sum());
        }
    }
    for (column, &count) in &report.actions {
        let labels = [("table", table.clone()), ("column", column.clone())];
        metrics::counter!("exporter_values_restricted_total", &labels).increment(count);
    }
}

fn count(value: u64) -> Result<i64, Failure> {
    i64::try_from(value).map_err(|_| Failure::new(ErrorCode::Internal, "a count is larger than can be stored"))
}

/// Reads a scan to its end. Gives what the warehouse's values lost on the way.
async fn read(
    mut stream: Box<dyn BatchStream>,
    feed: mpsc::Sender<Feed>,
    progress: &Progress,
) -> Result<Vec<FidelityCount>, Failure> {
    while let Some(batch) = stream.next().await? {
        let read = i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
        progress.row_counter().fetch_add(read, Ordering::Relaxed);
        metrics::counter!("exporter_rows_read_total").increment(batch.num_rows() as u64);
        if feed.send(Feed::Batch(batch)).await.is_err() {
            // The encoder has ended; its own result says why.
            return Ok(Vec::new());
        }
    }
    let fidelity = stream.fidelity();
    let _ = feed.send(Feed::End).await;
    Ok(fidelity)
}

/// Protects and encodes what it is fed. `None` when the input fell silent or nobody takes the parts: somebody else knows why.
fn encode(
    Shape { mut protection, mut encoder, mut content }: Shape,
    mut fed: mpsc::Receiver<Feed>,
    ready: mpsc::Sender<Bytes>,
) -> Result<Option<EncodedFile>, Failure> {
    let mut parts = Parts::new(ready);
    let mut hash = Sha256::new();
    let mut push = |bytes: Vec<Bytes>, parts: &mut Parts| {
        bytes.into_iter().try_for_each(|bytes| {
            hash.update(&bytes);
            parts.push(bytes)
        })
    };
    loop {
        match fed.blocking_recv() {
            Some(Feed::Batch(batch)) => {
                let leaving = protection.apply(&batch)?;
                if let Some(content) = &mut content {
                    content.add(&leaving)?;
                }
                encoder.write(&leaving)?;
                if push(encoder.drain(), &mut parts).is_err() {
                    return Ok(None);
                }
            }
            Some(Feed::End) => break,
            None => return Ok(None),
        }
    }
    let tail = encoder.finish()?;
    if push(tail.bytes, &mut parts).is_err() || parts.finish().is_err() {
        return Ok(None);
    }
    let report = FileReport { content: content.map(|content| content.name()), ..protection.report() };
    let sha256 = hex(&hash.finalize());
    Ok(Some(EncodedFile { rows: tail.rows, size: tail.size, sha256, report }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What each file says of its own making.
fn metadata(task: &PartitionTask, plan: &TablePlan, scan: &ScanSpec) -> Vec<(String, String)> {
    let window = scan.slice.as_ref().map(|slice| [slice.start, slice.end]);
    vec![
        ("exporter.job_id".to_owned(), task.job.to_string()),
        ("exporter.table".to_owned(), task.table.to_string()),
        ("exporter.window".to_owned(), json(&window)),
        (POLICY_HASH.to_owned(), plan.policy.hash.clone()),
        ("exporter.decisions".to_owned(), json(&plan.decisions())),
    ]
}

/// The key under which a file names the policy that it was made under.
pub(super) const POLICY_HASH: &str = "exporter.policy_hash";

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plans are made of plain values")
}
