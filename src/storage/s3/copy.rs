//! Copies on the server: at once up to 5 GiB, in parts above. No byte comes here.

use std::time::Duration;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumAlgorithm;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::errors::Fault;
use super::{S3Store, attempts_of};
use crate::storage::{ObjectKey, ObjectStore, StorageError, UploadId, UploadedPart};

/// A store copies 5 GiB in minutes, and may stay silent meanwhile.
const TIME: Duration = Duration::from_secs(600);
/// The most parts that an upload may have.
const MOST_PARTS: u64 = 10_000;
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

impl S3Store {
    pub(super) async fn copy_object(&self, from: &ObjectKey, etag: &str, to: &ObjectKey) -> Result<(), StorageError> {
        let source = match self.client.head_object().bucket(&self.bucket).key(from.as_str()).send().await {
            Ok(source) => source,
            Err(error) => {
                let fault = Fault::of(&error);
                if fault.not_found() {
                    // 404 without a body: the object or the whole bucket.
                    self.check().await?;
                }
                return Err(self.error(fault, "copy", from));
            }
        };
        // Some stores write an ETag with its quotes in one answer and without in another.
        let found = source.e_tag().filter(|found| found.trim_matches('"') == etag.trim_matches('"'));
        let etag = found.ok_or_else(|| changed(from))?;
        let size = source.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        if size > self.copy_at_once {
            return self.copy_in_parts((from, etag), to, &source, size).await;
        }
        let request = self
            .client
            .copy_object()
            .bucket(&self.bucket)
            .key(to.as_str())
            .copy_source(self.source(from))
            .copy_source_if_match(etag)
            // The source's checksum is one of its parts' checksums; the copy gets one of its bytes.
            .checksum_algorithm(ChecksumAlgorithm::Crc32C)
            .customize()
            .config_override(attempts_of(TIME));
        request.send().await.map(|_| ()).map_err(|e| self.not_copied(Fault::of(&e), from))
    }

    fn not_copied(&self, fault: Fault, from: &ObjectKey) -> StorageError {
        if fault.is("PreconditionFailed") || fault.status() == Some(412) {
            return changed(from);
        }
        self.error(fault, "copy", from)
    }

    fn source(&self, key: &ObjectKey) -> String {
        format!("{}/{}", self.bucket, utf8_percent_encode(key.as_str(), PLAIN))
    }

    async fn copy_in_parts(
        &self,
        (from, etag): (&ObjectKey, &str),
        to: &ObjectKey,
        source: &HeadObjectOutput,
        size: u64,
    ) -> Result<(), StorageError> {
        // Of whoever died while copying the same, with all its parts.
        for dead in self.uploads_of(to).await.unwrap_or_default() {
            let _ = self.abort_multipart(to, &dead).await;
        }
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(to.as_str())
            .set_content_type(source.content_type().map(str::to_owned))
            .checksum_algorithm(ChecksumAlgorithm::Crc32C);
        let upload = request.send().await.map_err(|e| self.error(Fault::of(&e), "copy", from))?;
        let upload = UploadId(upload.upload_id().unwrap_or_default().to_owned());
        let copied = self.copy_parts((from, etag), to, size, &upload).await;
        if copied.is_err() {
            // What failed is told; an upload that stays behind is aborted by whoever copies or cleans up next.
            let _ = self.abort_multipart(to, &upload).await;
        }
        copied
    }

    async fn copy_parts(
        &self,
        (from, etag): (&ObjectKey, &str),
        to: &ObjectKey,
        size: u64,
        upload: &UploadId,
    ) -> Result<(), StorageError> {
        let step = self.copy_part.max(size.div_ceil(MOST_PARTS));
        let mut parts = Vec::new();
        let mut start = 0;
        while start < size {
            let end = (start + step).min(size);
            let number = u16::try_from(parts.len() + 1).unwrap_or(u16::MAX);
            let request = self
                .client
                .upload_part_copy()
                .bucket(&self.bucket)
                .key(to.as_str())
                .upload_id(&upload.0)
                .part_number(number.into())
                .copy_source(self.source(from))
                .copy_source_if_match(etag)
                .copy_source_range(format!("bytes={start}-{}", end - 1))
                .customize()
                .config_override(attempts_of(TIME));
            let answer = request.send().await.map_err(|e| self.not_copied(Fault::of(&e), from))?;
            let part = answer.copy_part_result();
            parts.push(UploadedPart {
                number,
                etag: part.and_then(|part| part.e_tag()).unwrap_or_default().to_owned(),
                crc32c: part.and_then(|part| part.checksum_crc32_c()).unwrap_or_default().to_owned(),
            });
            start = end;
        }
        self.complete(to, upload, &parts, size).await.map(|_| ())
    }
}

/// The object is another one than was meant.
fn changed(key: &ObjectKey) -> StorageError {
    StorageError::Corrupt { key: key.to_string(), detail: "its ETag is another than when it was read".to_owned() }
}
