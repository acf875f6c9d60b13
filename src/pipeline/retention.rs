//! Deletes the files of expired jobs.

use tokio_util::sync::CancellationToken;

use crate::jobs::{JobId, Queue, QueueError, ToPurge};
use crate::storage::{ObjectKey, ObjectStore};

use std::time::Duration;

/// What one round of retention has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Jobs of which nothing is left.
    pub jobs: usize,
    /// Objects that were deleted.
    pub objects: usize,
    /// Tables whose objects could not be deleted now.
    pub failed: usize,
}

/// Lets jobs expire that ended longer ago than `keep`, and deletes the files of expired ones, until none is left or
/// `stop` is cancelled.
///
/// # Errors
/// When the metadata database fails; what is done by then is done.
pub async fn retain(
    queue: &Queue,
    store: &dyn ObjectStore,
    keep: Duration,
    stop: &CancellationToken,
) -> Result<Retained, QueueError> {
    let mut retained = Retained::default();
    while !stop.is_cancelled() && queue.expire(keep).await? > 0 {}
    while !stop.is_cancelled() {
        let Some((job, tables)) = queue.claim_purge().await? else { break };
        let failed = retained.failed;
        for table in tables {
            if stop.is_cancelled() {
                return Ok(retained);
            }
            match purge(store, job, &table).await {
                Some(objects) => {
                    queue.purged_table(job, &table.table).await?;
                    retained.objects += objects;
                }
                None => retained.failed += 1,
            }
        }
        if retained.failed == failed {
            queue.purged_job(job).await?;
            retained.jobs += 1;
        }
    }
    Ok(retained)
}

/// Archives requests that ended longer ago than `history`, batch by batch, until there are none or `stop` is cancelled.
/// Returns how many.
///
/// # Errors
/// When the metadata database fails; what is done by then is done.
pub async fn archive(queue: &Queue, history: Duration, stop: &CancellationToken) -> Result<usize, QueueError> {
    let mut archived = 0;
    while !stop.is_cancelled() {
        match queue.archive(history).await? {
            0 => break,
            some => archived += some,
        }
    }
    if archived > 0 {
        tracing::info!(jobs = archived, "archived");
    }
    Ok(archived)
}

/// Deletes a table's manifest and then its files; `None` when something is in the way.
async fn purge(store: &dyn ObjectStore, job: JobId, table: &ToPurge) -> Option<usize> {
    let manifest = match &table.manifest_url {
        Some(url) => {
            let ours = url.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
            match ours.filter(|(bucket, _)| *bucket == store.bucket()) {
                Some((_, key)) => Some(key.to_owned()),
                None => {
                    tracing::error!(%job, table = %table.table, "its files are in another bucket than EXPORTER_BUCKET and are not deleted");
                    return None;
                }
            }
        }
        None => None,
    };
    let mut deleted = 0;
    for key in manifest.iter().chain(&table.keys) {
        let Ok(key) = ObjectKey::new(key.as_str()) else { continue };
        if let Err(error) = store.delete(&key).await {
            tracing::warn!(%job, table = %table.table, code = %error.code(), "cannot delete an expired file; trying again later");
            return None;
        }
        deleted += 1;
    }
    Some(deleted)
}
