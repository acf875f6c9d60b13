//! The end of a day of the schedule: the rules as they were, the summary that says how it went, and the visible files of
//! what was restated. Written when every table has ended; never before.
//!
//! `_SUCCESS` and `_FAILED` exclude each other. Each is written on condition that it is still what was seen, so a process
//! that comes late cannot put an old summary in the place of a new one unnoticed.

mod rules;

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

/// The tables that are exported beside the data of a day.
const RULES: [RuleTable; 5] = [
    RuleTable::ExportTables,
    RuleTable::DataColumnClassification,
    RuleTable::ActualDataClassifications,
    RuleTable::LongTableDataClassifications,
    RuleTable::ColumnRestrictions,
];
/// How often a conditional write is tried when somebody else was quicker.
const TRIES: usize = 5;

/// Closes one day whose job has ended. `false` when there is none.
pub(super) async fn close_day(
    queue: &Queue,
    rules: &RuleStore,
    store: &Arc<dyn ObjectStore>,
    layout: &Layout,
) -> Result<bool, Failure> {
    let (rules, store, layout) = (rules.clone(), Arc::clone(store), layout.clone());
    queue.close_day(move |day| Box::pin(async move { write(&day, &rules, store.as_ref(), &layout).await })).await
}

async fn write(day: &EndedDay, rules: &RuleStore, store: &dyn ObjectStore, layout: &Layout) -> Result<(), Failure> {
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
    settle(store, &ObjectKey::new(format!("{folder}/{here}"))?, summary, "application/json").await?;
    store.delete(&ObjectKey::new(format!("{folder}/{gone}"))?).await?;
    Ok(())
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

/// Makes an object what it is to be, whatever it was.
async fn settle(store: &dyn ObjectStore, key: &ObjectKey, bytes: Bytes, kind: &str) -> Result<(), Failure> {
    for _ in 0..TRIES {
        let outcome = match store.head(key).await? {
            None => store.put_if_absent(key, bytes.clone(), kind).await?,
            Some(there) if there.size == bytes.len() as u64 && store.get(key).await? == bytes => return Ok(()),
            Some(there) => store.replace(key, &there.etag, bytes.clone(), kind).await?,
        };
        if outcome == PutOutcome::Created {
            return Ok(());
        }
    }
    Err(Failure::new(
        ErrorCode::StorageUnavailable,
        format!("'{key}' is being written by somebody else again and again; it is tried again"),
    ))
}

/// Puts the files of one restated table in the place of those that everybody sees in its folder. `false` when there is none.
pub(super) async fn swap_day(queue: &Queue, store: &Arc<dyn ObjectStore>) -> Result<bool, Failure> {
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
