//! Requests to the object store that somebody waits for whatever becomes of the attempt that made them.
//!
//! Attempts are dropped: their lease is lost, their job is ended, their process stops. What is on its way to the store then
//! may be done all the same, and after clean-up has looked for it and found nothing, as it does for a worker that was frozen
//! before it asked. Only the answer tells of it. So these requests have tasks of their own, which see to what they came to.

use std::time::Duration;

use classification::TableName;
use tokio_util::task::TaskTracker;

use super::sweep::end_uploads;
use super::{Pipeline, Stopped, stopped};
use crate::error::{ErrorCode, Failure};
use crate::jobs::{JobId, PartitionTask, TableTask};
use crate::storage::{ObjectKey, UploadId};

/// The requests of one worker that are under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Underway(TaskTracker);

impl Underway {
    /// Opens an attempt's upload and records it. Where it cannot be recorded any more it is aborted.
    pub(super) async fn open(
        &self,
        pipeline: &Pipeline,
        task: &PartitionTask,
        key: &ObjectKey,
        media_type: &'static str,
    ) -> Result<UploadId, Stopped> {
        let opened = self.0.spawn(open(self.clone(), pipeline.clone(), task.clone(), key.clone(), media_type));
        opened.await.map_err(|_| Failure::new(ErrorCode::Internal, "opening an upload stopped unexpectedly"))?
    }

    /// Copies a staged object, if it still has this ETag, under a final name. Where nothing can come of its table any more
    /// when that is done, the copy is deleted.
    pub(super) async fn copy(
        &self,
        pipeline: &Pipeline,
        task: &TableTask,
        (from, etag): (ObjectKey, &str),
        to: ObjectKey,
    ) -> Result<(), Stopped> {
        let table = (task.job, task.table.clone());
        let copied = self.0.spawn(copy(pipeline.clone(), table, (from, etag.to_owned()), to));
        copied.await.map_err(|_| Failure::new(ErrorCode::Internal, "copying an object stopped unexpectedly"))?
    }

    /// Waits for all of it. `false` when it took longer than this: what the store does after that may be nobody's.
    pub(super) async fn ended(&self, patience: Duration) -> bool {
        self.0.close();
        tokio::time::timeout(patience, self.0.wait()).await.is_ok()
    }
}

async fn open(
    underway: Underway,
    pipeline: Pipeline,
    task: PartitionTask,
    key: ObjectKey,
    media_type: &'static str,
) -> Result<UploadId, Stopped> {
    let (id, why) = match pipeline.store.create_multipart(&key, media_type).await {
        Ok(id) => match pipeline.queue.record_upload(&task, key.as_str(), &id.0).await {
            Ok(()) => return Ok(id),
            Err(error) => (id, stopped(error)),
        },
        // The store may have done it and not been heard. It is told at once all the same.
        Err(error) => {
            underway.0.spawn(async move { end_uploads(pipeline.store.as_ref(), &key, None).await });
            return Err(error.into());
        }
    };
    if end_uploads(pipeline.store.as_ref(), &key, Some(id)).await.is_err() {
        tracing::warn!(%key, "an upload was opened that may be nobody's, and could not be aborted");
    }
    Err(why)
}

async fn copy(
    pipeline: Pipeline,
    (job, table): (JobId, TableName),
    (from, etag): (ObjectKey, String),
    to: ObjectKey,
) -> Result<(), Stopped> {
    let copied = pipeline.store.copy(&from, &etag, &to).await;
    // Also when it failed: the store may have done it and not been heard.
    let left = match pipeline.queue.came_to_nothing(job, &table).await {
        Ok(false) => false,
        Ok(true) => {
            let store = pipeline.store.as_ref();
            end_uploads(store, &to, None).await.is_err() || store.delete(&to).await.is_err()
        }
        Err(_) => true,
    };
    if left {
        tracing::warn!(%job, %table, key = %to, "a copy was made that may be nobody's; it is left where it is");
    }
    Ok(copied?)
}
