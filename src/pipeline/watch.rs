//! Sees that an attempt goes on: rows are read, the object store does something for it, or a limit of ours holds it back.
//!
//! Heartbeats prove that a worker is alive, not that its work moves. An attempt of which nothing moves for a while is
//! ended by its own worker, and counts as failed. Until its first row it is given the time that the warehouse has for
//! that, too.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::error::{ErrorCode, Failure};
use crate::jobs::Progress;
use crate::storage::{
    ObjectKey, ObjectMeta, ObjectStore, PresignedLink, PutOutcome, StorageError, UploadId, UploadedPart,
};

/// Returns when nothing has moved for `limit`, and for `before_first` more until something has moved at all.
pub(super) async fn no_progress(progress: &Progress, limit: Duration, before_first: Duration) -> Failure {
    let look = (limit / 10).clamp(Duration::from_millis(20), Duration::from_secs(1));
    let (mut known, mut since) = (0, Instant::now());
    loop {
        sleep(look).await;
        let moved = progress.moved();
        if moved != known {
            (known, since) = (moved, Instant::now());
        }
        let patience = if known == 0 { limit + before_first } else { limit };
        if since.elapsed() >= patience {
            return Failure::new(
                ErrorCode::NoProgress,
                format!(
                    "nothing has moved for {} s: neither a row from the warehouse nor a byte to the object store; \
                     look at the load of both, or raise EXPORTER_STALL_SECONDS",
                    since.elapsed().as_secs()
                ),
            );
        }
    }
}

/// A store that counts what it does for one attempt.
#[derive(Debug)]
pub(super) struct Watched {
    store: Arc<dyn ObjectStore>,
    progress: Arc<Progress>,
}

impl Watched {
    pub(super) fn new(store: Arc<dyn ObjectStore>, progress: Arc<Progress>) -> Self {
        Self { store, progress }
    }

    fn noted<T>(&self, done: Result<T, StorageError>, bytes: impl FnOnce(&T) -> u64) -> Result<T, StorageError> {
        if let Ok(done) = &done {
            self.progress.stored(bytes(done));
        }
        done
    }
}

#[async_trait]
impl ObjectStore for Watched {
    fn bucket(&self) -> &str {
        self.store.bucket()
    }

    async fn check(&self) -> Result<(), StorageError> {
        self.noted(self.store.check().await, |_| 1)
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        body: Bytes,
        content_type: &str,
    ) -> Result<PutOutcome, StorageError> {
        let bytes = body.len() as u64;
        self.noted(self.store.put_if_absent(key, body, content_type).await, |_| bytes)
    }

    async fn replace(
        &self,
        key: &ObjectKey,
        etag: &str,
        body: Bytes,
        content_type: &str,
    ) -> Result<PutOutcome, StorageError> {
        let bytes = body.len() as u64;
        self.noted(self.store.replace(key, etag, body, content_type).await, |_| bytes)
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StorageError> {
        self.noted(self.store.get(key).await, |body| body.len() as u64)
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.noted(self.store.get_range(key, range).await, |body| body.len() as u64)
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StorageError> {
        self.noted(self.store.head(key).await, |_| 1)
    }

    async fn copy(&self, from: &ObjectKey, etag: &str, to: &ObjectKey) -> Result<(), StorageError> {
        self.noted(self.store.copy(from, etag, to).await, |()| 1)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.noted(self.store.delete(key).await, |()| 1)
    }

    async fn create_multipart(&self, key: &ObjectKey, content_type: &str) -> Result<UploadId, StorageError> {
        self.store.create_multipart(key, content_type).await
    }

    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u16,
        body: Bytes,
    ) -> Result<UploadedPart, StorageError> {
        let bytes = body.len() as u64;
        self.noted(self.store.upload_part(key, upload, number, body).await, |_| bytes)
    }

    async fn complete_multipart(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        size: u64,
    ) -> Result<ObjectMeta, StorageError> {
        self.noted(self.store.complete_multipart(key, upload, parts, size).await, |_| 1)
    }

    async fn open_uploads(&self, key: &ObjectKey) -> Result<Vec<UploadId>, StorageError> {
        self.store.open_uploads(key).await
    }

    async fn list(&self, folder: &ObjectKey) -> Result<Vec<String>, StorageError> {
        self.store.list(folder).await
    }

    async fn abort_multipart(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StorageError> {
        self.noted(self.store.abort_multipart(key, upload).await, |()| 1)
    }

    async fn presign_get(&self, key: &ObjectKey, valid_for: Duration) -> Result<PresignedLink, StorageError> {
        self.store.presign_get(key, valid_for).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::Ordering;

    use super::*;

    #[tokio::test]
    async fn what_moves_is_left_alone_and_what_does_not_is_ended() {
        let (limit, first) = (Duration::from_millis(400), Duration::from_millis(600));
        let begun = Instant::now();
        let failure = no_progress(&Progress::default(), limit, first).await;
        assert_eq!(failure.code, ErrorCode::NoProgress);
        assert!(begun.elapsed() >= limit + first, "the first row is waited for");

        let progress = Arc::new(Progress::default());
        let begun = Instant::now();
        let moving = async {
            for step in 0..12 {
                sleep(limit / 4).await;
                match step % 3 {
                    0 => drop(progress.row_counter().fetch_add(1, Ordering::Relaxed)),
                    1 => progress.stored(0),
                    _ => drop(progress.held_back_counter().fetch_add(1, Ordering::Relaxed)),
                }
            }
            std::future::pending::<()>().await;
        };
        // Where both are late, because this machine was, whoever moves comes first.
        tokio::select! {
            biased;
            () = moving => {}
            _ = no_progress(&progress, limit, first) => {}
        }
        assert!(begun.elapsed() >= limit * 4, "counted from the last move: {:?}", begun.elapsed());
    }

    /// A method with a body in the trait would be answered there, past the store.
    #[test]
    fn every_method_of_a_store_is_passed_on() {
        let named = |text: &str, from: &str| -> BTreeSet<String> {
            let body = text.split(from).nth(1).unwrap().split("\n}\n").next().unwrap();
            body.split("fn ").skip(1).map(|rest| rest.split('(').next().unwrap().to_owned()).collect()
        };
        let declared = named(include_str!("../storage/mod.rs"), "pub trait ObjectStore");
        let passed = named(include_str!("watch.rs"), "impl ObjectStore for Watched");
        assert_eq!(declared, passed);
    }
}
