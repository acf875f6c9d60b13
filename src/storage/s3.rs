//! [`ObjectStore`] over the S3 protocol: AWS, any compatible store, and the server of local mode.
//!
//! Every request may be repeated: passing faults are retried with back-off, and where a repetition cannot be told from
//! a second try ([`ObjectStore::complete_multipart`]) the object itself is asked. Errors carry the store's code and
//! the kind of a transport fault; never a signature, a header or an address with a query.

mod complete;
mod copy;
mod errors;
mod list;
mod presign;
mod settings;

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use self::errors::{Fault, in_key};
use self::presign::Presigner;
pub use self::settings::{ConnectError, S3Settings};
use super::{ObjectKey, ObjectMeta, ObjectStore, PresignedLink, PutOutcome, StorageError, UploadId, UploadedPart};

/// How often a body that broke off while it was read, or a put that met another one, is tried anew.
const REPEATS: u32 = 5;
/// The slowest connection that bodies are allowed for, in bytes a second.
const SLOWEST: u64 = 32 * 1024;
/// What a request without a body to speak of may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One bucket of an S3 store.
#[derive(Debug)]
pub struct S3Store {
    client: Client,
    bucket: String,
    presigner: Presigner,
    sign_payload: bool,
    copy_at_once: u64,
    copy_part: u64,
}

impl S3Store {
    /// Prepares access to a bucket; asks nothing of the store yet ([`ObjectStore::check`] does).
    ///
    /// # Errors
    /// An endpoint that is no `http://` or `https://` address.
    pub async fn connect(settings: S3Settings) -> Result<Self, ConnectError> {
        let prepared = settings.prepare().await?;
        Ok(Self {
            client: Client::from_conf(prepared.config),
            presigner: Presigner::new(prepared.links, prepared.credentials),
            sign_payload: prepared.sign_payload,
            copy_at_once: settings.copy_at_once.max(1),
            copy_part: settings.copy_part.max(1),
            bucket: settings.bucket,
        })
    }

    fn error(&self, fault: Fault, action: &str, key: &ObjectKey) -> StorageError {
        fault.into_error(in_key(action, key), &self.bucket, Some(key))
    }

    /// Puts an object in the place of the one with this etag, or where there is none.
    async fn put(
        &self,
        key: &ObjectKey,
        instead_of: Option<&str>,
        body: Bytes,
        content_type: &str,
    ) -> Result<PutOutcome, StorageError> {
        let mut repeats = 0;
        loop {
            let request = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(key.as_str())
                .set_if_match(instead_of.map(str::to_owned))
                .set_if_none_match(instead_of.is_none().then(|| "*".to_owned()))
                .content_type(content_type)
                .checksum_crc32_c(crc32c(&body))
                .body(ByteStream::from(body.clone()))
                .customize()
                .config_override(attempts_of(patience(body.len() as u64)));
            match request.send().await {
                Ok(_) => return Ok(PutOutcome::Created),
                Err(error) => match Fault::of(&error) {
                    fault if fault.is("PreconditionFailed") || fault.status() == Some(412) => {
                        return Ok(PutOutcome::AlreadyThere);
                    }
                    // What was to be replaced is gone.
                    fault if instead_of.is_some() && fault.is("NoSuchKey") => return Ok(PutOutcome::AlreadyThere),
                    fault if fault.is_conflict() && repeats < REPEATS => {
                        repeats += 1;
                        pause(repeats).await;
                    }
                    fault => {
                        return Err(self.error(fault, if instead_of.is_some() { "replace" } else { "create" }, key));
                    }
                },
            }
        }
    }

    /// A body whole, or an error if it breaks off or is not `expected` bytes long.
    async fn read(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Bytes, Result<StorageError, &'static str>> {
        let header = range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let request = self.client.get_object().bucket(&self.bucket).key(key.as_str()).set_range(header);
        let answer = request.send().await.map_err(|e| Ok(self.error(Fault::of(&e), "read", key)))?;
        let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
        let body = tokio::time::timeout(patience(length.unwrap_or(0)), answer.body.collect()).await;
        let body = body.map_err(|_| Err("the answer came too slowly"))?.map_err(|error| {
            if errors::is_checksum_mismatch(&error) {
                let detail = "the checksum that it gives does not match its bytes".to_owned();
                Ok(StorageError::Corrupt { key: key.to_string(), detail })
            } else {
                Err("the answer broke off")
            }
        })?;
        Ok(body.into_bytes())
    }

    /// Reads, and once more if the connection breaks while the body comes.
    async fn read_again(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<Bytes, StorageError> {
        let mut repeats = 0;
        loop {
            match self.read(key, range.clone()).await {
                Ok(bytes) => return Ok(bytes),
                Err(Ok(error)) => return Err(error),
                Err(Err(detail)) if repeats >= REPEATS => {
                    return Err(self.error(Fault::transport(detail), "read", key));
                }
                Err(Err(_)) => {
                    repeats += 1;
                    pause(repeats).await;
                }
            }
        }
    }
}

/// How long a request with a body of `size` bytes may take.
fn patience(size: u64) -> Duration {
    PATIENCE + Duration::from_secs(size / SLOWEST)
}

fn attempts_of(time: Duration) -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(time).build();
    aws_sdk_s3::config::Builder::new().timeout_config(timeouts)
}

/// Waits before repetition number `repeat`: 0.1 s, doubling.
async fn pause(repeat: u32) {
    tokio::time::sleep(Duration::from_millis(50) * 2_u32.pow(repeat.min(6))).await;
}

/// CRC-32C as S3 writes it.
fn crc32c(bytes: &[u8]) -> String {
    STANDARD.encode(crc32c::crc32c(bytes).to_be_bytes())
}

#[async_trait]
impl ObjectStore for S3Store {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn check(&self) -> Result<(), StorageError> {
        match self.client.head_bucket().bucket(&self.bucket).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let fault = Fault::of(&error);
                // An answer to HEAD has no body, thus no code.
                if fault.not_found() {
                    return Err(StorageError::BucketNotFound { bucket: self.bucket.clone() });
                }
                Err(fault.into_error("find the bucket".to_owned(), &self.bucket, None))
            }
        }
    }

    /// `AlreadyThere` also where the first answer was lost and the repetition met what it had created: whoever needs
    /// to know compares the content.
    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        body: Bytes,
        content_type: &str,
    ) -> Result<PutOutcome, StorageError> {
        self.put(key, None, body, content_type).await
    }

    async fn replace(
        &self,
        key: &ObjectKey,
        etag: &str,
        body: Bytes,
        content_type: &str,
    ) -> Result<PutOutcome, StorageError> {
        self.put(key, Some(etag), body, content_type).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StorageError> {
        self.read_again(key, None).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StorageError> {
        if range.start >= range.end {
            return Ok(Bytes::new());
        }
        let bytes = self.read_again(key, Some(range.clone())).await?;
        if bytes.len() as u64 != range.end - range.start {
            let detail = format!("bytes {} to {} were asked for, {} came", range.start, range.end, bytes.len());
            return Err(StorageError::Corrupt { key: key.to_string(), detail });
        }
        Ok(bytes)
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StorageError> {
        match self.client.head_object().bucket(&self.bucket).key(key.as_str()).send().await {
            Ok(answer) => Ok(Some(ObjectMeta {
                size: answer.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                etag: answer.e_tag().unwrap_or_default().to_owned(),
            })),
            Err(error) => {
                let fault = Fault::of(&error);
                if fault.not_found() {
                    // 404 without a body: the object or the whole bucket.
                    self.check().await?;
                    return Ok(None);
                }
                Err(self.error(fault, "look at", key))
            }
        }
    }

    async fn copy(&self, from: &ObjectKey, etag: &str, to: &ObjectKey) -> Result<(), StorageError> {
        self.copy_object(from, etag, to).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        match self.client.delete_object().bucket(&self.bucket).key(key.as_str()).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let fault = Fault::of(&error);
                if fault.is("NoSuchKey") { Ok(()) } else { Err(self.error(fault, "delete", key)) }
            }
        }
    }

    async fn create_multipart(&self, key: &ObjectKey, content_type: &str) -> Result<UploadId, StorageError> {
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .content_type(content_type)
            .checksum_algorithm(ChecksumAlgorithm::Crc32C);
        let answer = request.send().await.map_err(|e| self.error(Fault::of(&e), "start an upload of", key))?;
        let id = answer.upload_id().filter(|id| !id.is_empty()).map(|id| UploadId(id.to_owned()));
        id.ok_or_else(|| self.error(Fault::transport("an answer without an upload id"), "start an upload of", key))
    }

    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u16,
        body: Bytes,
    ) -> Result<UploadedPart, StorageError> {
        let sum = crc32c(&body);
        let time = patience(body.len() as u64);
        let mut request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(&upload.0)
            .part_number(number.into())
            .checksum_crc32_c(&sum)
            .body(ByteStream::from(body))
            .customize()
            .config_override(attempts_of(time));
        if !self.sign_payload {
            // The checksum is in a signed header; hashing each part a second time, by SHA-256, would add nothing.
            request = request.disable_payload_signing();
        }
        let action = format!("upload part {number} of");
        let answer = request.send().await.map_err(|e| self.error(Fault::of(&e), &action, key))?;
        if answer.checksum_crc32_c().is_some_and(|stored| stored != sum) {
            let detail = format!("the CRC-32C of part {number} differs");
            return Err(StorageError::Corrupt { key: key.to_string(), detail });
        }
        let etag = answer.e_tag().map(str::to_owned);
        let etag = etag.ok_or_else(|| self.error(Fault::transport("an answer without an ETag"), &action, key))?;
        Ok(UploadedPart { number, etag, crc32c: sum })
    }

    async fn complete_multipart(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        size: u64,
    ) -> Result<ObjectMeta, StorageError> {
        self.complete(key, upload, parts, size).await
    }

    async fn abort_multipart(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StorageError> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(key.as_str()).upload_id(&upload.0);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let fault = Fault::of(&error);
                if fault.is("NoSuchUpload") { Ok(()) } else { Err(self.error(fault, "end the upload of", key)) }
            }
        }
    }

    async fn open_uploads(&self, key: &ObjectKey) -> Result<Vec<UploadId>, StorageError> {
        self.uploads_of(key).await
    }

    async fn list(&self, folder: &ObjectKey) -> Result<Vec<String>, StorageError> {
        self.names_in(folder).await
    }

    async fn presign_get(&self, key: &ObjectKey, valid_for: Duration) -> Result<PresignedLink, StorageError> {
        self.presigner.link(&self.bucket, key, valid_for).await
    }
}
