//! From encoded bytes to parts of a multipart upload. Nothing is held but the part that is being filled, one that
//! waits and one that is on its way.

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::storage::{ObjectKey, ObjectStore, StorageError, UploadId, UploadedPart};

/// The size of every part but the last: the smallest that S3 takes. 10,000 of them are 48 GiB, far above a partition.
pub(super) const PART_BYTES: usize = 5 << 20;

/// Fills parts from the bytes of a file, in order.
#[derive(Debug)]
pub(super) struct Parts {
    filling: BytesMut,
    begun: bool,
    ready: mpsc::Sender<Bytes>,
}

/// Nobody takes parts any more: the upload failed, or the work was stopped.
#[derive(Debug)]
pub(super) struct NobodyUploads;

impl Parts {
    /// Parts that go to `ready`.
    pub(super) fn new(ready: mpsc::Sender<Bytes>) -> Self {
        Self { filling: BytesMut::with_capacity(PART_BYTES), begun: false, ready }
    }

    /// Adds bytes; blocks while the uploader is behind. Not for a reactor's thread.
    pub(super) fn push(&mut self, mut bytes: Bytes) -> Result<(), NobodyUploads> {
        while !bytes.is_empty() {
            let room = PART_BYTES - self.filling.len();
            self.filling.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            if self.filling.len() == PART_BYTES {
                let full = std::mem::replace(&mut self.filling, BytesMut::with_capacity(PART_BYTES));
                self.send(full.freeze())?;
            }
        }
        Ok(())
    }

    /// Sends what is left as the last part. A file without a byte, as lines without a row are, is one empty part: an
    /// upload without parts cannot be completed.
    pub(super) fn finish(mut self) -> Result<(), NobodyUploads> {
        if self.filling.is_empty() && self.begun {
            return Ok(());
        }
        let last = std::mem::take(&mut self.filling).freeze();
        self.send(last)
    }

    fn send(&mut self, part: Bytes) -> Result<(), NobodyUploads> {
        self.begun = true;
        self.ready.blocking_send(part).map_err(|_| NobodyUploads)
    }
}

/// Uploads parts as they come, one after the other, until no more can come.
pub(super) async fn upload(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    id: &UploadId,
    mut parts: mpsc::Receiver<Bytes>,
) -> Result<Vec<UploadedPart>, StorageError> {
    let mut uploaded = Vec::new();
    while let Some(part) = parts.recv().await {
        let number = u16::try_from(uploaded.len() + 1).map_err(|_| StorageError::Corrupt {
            key: key.to_string(),
            detail: "the file needs more parts than an upload may have; lower EXPORTER_PARTITION_TARGET_BYTES"
                .to_owned(),
        })?;
        uploaded.push(store.upload_part(key, id, number, part).await?);
    }
    Ok(uploaded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn parts_are_the_file(sizes in prop::collection::vec(0_usize..(7 << 20), 0..5)) {
            let (ready, mut taken) = mpsc::channel(64);
            let mut parts = Parts::new(ready);
            let mut file = Vec::new();
            for (i, size) in sizes.iter().enumerate() {
                let bytes = vec![u8::try_from(i).unwrap() + 1; *size];
                file.extend_from_slice(&bytes);
                parts.push(bytes.into()).unwrap();
            }
            parts.finish().unwrap();
            let mut got = Vec::new();
            while let Ok(part) = taken.try_recv() {
                got.push(part);
            }
            prop_assert!(got.iter().rev().skip(1).all(|part| part.len() == PART_BYTES));
            prop_assert!(got.concat() == file);
            prop_assert!(!got.is_empty());
        }
    }
}
