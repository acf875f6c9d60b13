//! The end of a day of the schedule: the rules as they were, the summary that says how it went, and the visible files of
//! what was restated. Written when every table has ended; never before.
//!
//! `_SUCCESS` and `_FAILED` exclude each other. Each is written on condition that it is still what was seen, so a process
//! that comes late is told so. One that was frozen for longer than its lock may have written an old summary all the same,
//! where a newer one had gone: so what is written is looked at again, ever more seldom, and made right.

mod content;
mod rules;
mod unchanged;

use std::sync::Arc;

use bytes::Bytes;
use classification::rules::RuleTable;
use serde_json::json;

use super::layout::{Layout, instant};
use crate::error::{ErrorCode, Failure};
use crate::jobs::Queue;
use crate::jobs::closing::{EndedDay, Swap};
use crate::rules::RuleStore;
use crate::storage::{ObjectKey, ObjectStore, PutOutcome};

pub(super) use content::Content;
pub(super) use unchanged::unchanged;

/// The tables that are exported beside the data of a day.
const RULES: [RuleTable; 5] = [
    RuleTable::ExportTables,
    RuleTable::DataColumnClassification,
    RuleTable::ActualDataClassifications,
    RuleTable::LongTableDataClassifications,
    RuleTable::ColumnRestrictions,
];

/// Closes one day whose job has ended, when its folders show what they can show by now. `false` when there is none.
pub(super) async fn close_day(
    queue: &Queue,
    rules: &RuleStore,
    store: &Arc<dyn ObjectStore>,
    layout: &Layout,
) -> Result<bool, Failure> {
    while swap_day(queue, store).await? {}
    let (rules, store, layout) = (rules.clone(), Arc::clone(store), layout.clone());
    queue.close_day(move |day| Box::pin(async move { write(&day, &rules, store.as_ref(), &layout).await })).await
}

/// Makes one closed day's folder say what is known of it, if it is time to look. `false` when there is none.
pub(super) async fn check_day(
    queue: &Queue,
    rules: &RuleStore,
    store: &Arc<dyn ObjectStore>,
    layout: &Layout,
) -> Result<bool, Failure> {
    let (rules, store, layout) = (rules.clone(), Arc::clone(store), layout.clone());
    queue.check_day(move |day| Box::pin(async move { write(&day, &rules, store.as_ref(), &layout).await })).await
}

/// Writes what is not there yet. Returns whether the summary was something else.
async fn write(day: &EndedDay, rules: &RuleStore, store: &dyn ObjectStore, layout: &Layout) -> Result<bool, Failure> {
    let folder = layout.day(day.date);
    if let Some(revision) = day.rules_revision {
        let kept = rules.snapshot(revision).await?.ok_or_else(|| {
            Failure::new(ErrorCode::Internal, format!("the rules of revision {revision} were not kept"))
        })?;
        for table in RULES {
            let key = ObjectKey::new(format!("{folder}/classifications/{}.parquet", table.name()))?;
            let bytes = rules::parquet(&kept.set, table, revision)?;
            settle(store, &key, bytes, "application/vnd.apache.parquet").await?;
        }
    }
    let (here, gone) = if day.succeeded() { ("_SUCCESS", "_FAILED") } else { ("_FAILED", "_SUCCESS") };
    let summary = Bytes::from(summary(day).to_string());
    let written = settle(store, &ObjectKey::new(format!("{folder}/{here}"))?, summary, "application/json").await?;
    let gone = ObjectKey::new(format!("{folder}/{gone}"))?;
    let left = store.head(&gone).await?.is_some();
    if left {
        store.delete(&gone).await?;
    }
    Ok(written || left)
}

/// What `_SUCCESS` and `_FAILED` say. A function of what the database has of the day, so that it can be repeated.
fn summary(day: &EndedDay) -> serde_json::Value {
    json!({
        "version": 1,
        "status": if day.succeeded() { "SUCCESS" } else { "FAILED" },
        "date": day.date.to_string(),
        "time_zone": day.time_zone,
        "window": [instant(day.window.start), instant(day.window.end)],
        "schedule": day.schedule,
        "revision": day.revision,
        "job_id": day.job.to_string(),
        "rules_revision": day.rules_revision,
        "error": day.error,
        "tables": day.tables,
        "missing": day.missing,
        "skipped": day.skipped,
    })
}

/// Makes an object what it is to be, whatever it was; returns whether it was something else. Who writes here holds a lock, so
/// where somebody else was quicker the lock is theirs: then nothing is written over theirs.
async fn settle(store: &dyn ObjectStore, key: &ObjectKey, bytes: Bytes, kind: &str) -> Result<bool, Failure> {
    let outcome = match store.head(key).await? {
        None => store.put_if_absent(key, bytes.clone(), kind).await?,
        Some(there) if there.size == bytes.len() as u64 && store.get(key).await? == bytes => return Ok(false),
        Some(there) => store.replace(key, &there.etag, bytes.clone(), kind).await?,
    };
    // The answer to a write that went through may have been lost.
    if outcome == PutOutcome::Created || store.head(key).await?.is_some() && store.get(key).await? == bytes {
        return Ok(true);
    }
    let why = format!("'{key}' was written by somebody else in the same moment; it is tried again");
    Err(Failure::new(ErrorCode::StorageUnavailable, why))
}

/// Puts the files of one restated table in the place of those that everybody sees in its folder. `false` when there is none.
async fn swap_day(queue: &Queue, store: &Arc<dyn ObjectStore>) -> Result<bool, Failure> {
    let store = Arc::clone(store);
    queue.swap_day(move |swap| Box::pin(async move { replace(&swap, store.as_ref()).await })).await
}

async fn replace(swap: &Swap, store: &dyn ObjectStore) -> Result<(), Failure> {
    let seen = |key: &str| format!("{}/{}", swap.folder, key.rsplit('/').next().unwrap_or(key));
    for file in &swap.files {
        let (from, to) = (ObjectKey::new(&file.key)?, ObjectKey::new(seen(&file.key))?);
        let published = store.head(&from).await?.ok_or_else(|| {
            Failure::new(ErrorCode::Internal, format!("'{from}' was published and is not there any more"))
        })?;
        store.copy(&from, &published.etag, &to).await?;
    }
    let stay: Vec<String> = swap.files.iter().map(|file| seen(&file.key)).collect();
    for key in swap.earlier.iter().map(|key| seen(key)).filter(|key| !stay.contains(key)) {
        store.delete(&ObjectKey::new(key)?).await?;
    }
    Ok(())
}
