//! Object storage: where staged and published files are. The rest of the program knows this trait, not its insides.
//!
//! An implementation never overwrites silently what [`ObjectStore::put_if_absent`] was asked to create, and never
//! guesses how an unclear [`ObjectStore::complete_multipart`] ended: it looks.

pub mod s3;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{ErrorCode, Failure};

/// The name of an object inside the bucket: `/`-separated, no leading slash, no empty, `.` or `..` element.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks a key and takes it.
    ///
    /// # Errors
    /// A key that is empty, longer than 1,024 bytes, or has an empty, `.` or `..` element.
    pub fn new(key: impl Into<String>) -> Result<Self, StorageError> {
        let key = key.into();
        let sound = key.len() <= 1024 && key.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if sound { Ok(Self(key)) } else { Err(StorageError::InvalidKey { key }) }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the last slash.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The store's id of a multipart upload that is not completed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadId(pub String);

/// A part that the store has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedPart {
    /// 1 to 10,000.
    pub number: u16,
    /// As the store gave it, quotes included.
    pub etag: String,
    /// CRC-32C of the part, base64, as S3 writes it.
    pub crc32c: String,
}

/// What a store knows of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Bytes.
    pub size: u64,
    /// As the store gave it, quotes included.
    pub etag: String,
}

/// How a conditional put ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is new, and has the given bytes.
    Created,
    /// An object of this name existed; nothing was written.
    AlreadyThere,
}

/// A link that opens one object without credentials until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresignedLink {
    /// The address, signature included: a secret until it expires. Never logged.
    pub url: String,
    /// Seconds from its signing until it stops working; less than asked for when the credentials end earlier.
    pub valid_for: Duration,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The key breaks the rules of [`ObjectKey`].
    #[error("'{key}' is not an object key: it is empty, too long, or has an empty, '.' or '..' element")]
    InvalidKey {
        /// The key as given.
        key: String,
    },
    /// No such object.
    #[error("object '{key}' does not exist in bucket '{bucket}'")]
    NotFound {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// The bucket does not exist.
    #[error("bucket '{bucket}' does not exist; create it, or correct EXPORTER_BUCKET")]
    BucketNotFound {
        /// The bucket.
        bucket: String,
    },
    /// The store refused: credentials, signature or permission.
    #[error(
        "the object store refused to {action} in bucket '{bucket}' ({detail}); check the AWS credentials and the bucket's policy"
    )]
    Denied {
        /// What was tried, as a verb with its object, such as `read 'a/b'`.
        action: String,
        /// The bucket.
        bucket: String,
        /// The store's own code, such as `AccessDenied`.
        detail: String,
    },
    /// The store is away, or answered with a passing fault, after all retries.
    #[error(
        "the object store could not {action} in bucket '{bucket}' ({detail}); check AWS_ENDPOINT_URL and the network"
    )]
    Unavailable {
        /// What was tried.
        action: String,
        /// The bucket.
        bucket: String,
        /// The store's own code, or the kind of transport fault.
        detail: String,
    },
    /// The multipart upload is gone: aborted, expired or completed by somebody else.
    #[error("the multipart upload of '{key}' is gone from the object store")]
    UploadGone {
        /// The key.
        key: String,
    },
    /// The store holds other bytes than were sent.
    #[error("the object store holds something else than was sent as '{key}': {detail}")]
    Corrupt {
        /// The key.
        key: String,
        /// What differs, without content.
        detail: String,
    },
}

impl StorageError {
    /// The stable code for the outside.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidKey { .. } | Self::NotFound { .. } => ErrorCode::Internal,
            Self::BucketNotFound { .. } => ErrorCode::BucketNotFound,
            Self::Denied { .. } => ErrorCode::StorageDenied,
            Self::Unavailable { .. } | Self::UploadGone { .. } | Self::Corrupt { .. } => ErrorCode::StorageUnavailable,
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Failure::new(error.code(), error.to_string())
    }
}

/// Names that [`ObjectStore::list`] gives at most.
pub const MOST_LISTED: usize = 10_000;

/// An object store with one bucket. Implementations pass `tests/it/storage_conformance.rs`.
#[async_trait]
pub trait ObjectStore: Send + Sync + fmt::Debug {
    /// The bucket that every key is in.
    fn bucket(&self) -> &str;

    /// Whether the bucket is there and these credentials reach it.
    async fn check(&self) -> Result<(), StorageError>;

    /// Creates an object, unless one of this name exists. Atomic: of any number of writers one creates.
    async fn put_if_absent(&self, key: &ObjectKey, body: Bytes, content_type: &str)
    -> Result<PutOutcome, StorageError>;

    /// Puts an object in the place of the one with this etag. [`PutOutcome::AlreadyThere`] when another has its place by
    /// now, or none: nothing was written. Atomic: of any number of writers that saw the same object one replaces it.
    async fn replace(
        &self,
        key: &ObjectKey,
        etag: &str,
        body: Bytes,
        content_type: &str,
    ) -> Result<PutOutcome, StorageError>;

    /// A whole object. For manifests and other small ones only.
    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StorageError>;

    /// The bytes `range` of an object, half-open.
    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StorageError>;

    /// What the store knows of an object, or `None` if there is none.
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StorageError>;

    /// Copies inside the bucket, on the server, if the object at `from` still has this ETag, else nothing is written
    /// ([`StorageError::Corrupt`]); an object at `to` is replaced. Objects of more than 5 GiB in parts.
    async fn copy(&self, from: &ObjectKey, etag: &str, to: &ObjectKey) -> Result<(), StorageError>;

    /// Deletes an object; one that does not exist is no error.
    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError>;

    /// Starts a multipart upload with CRC-32C checksums.
    async fn create_multipart(&self, key: &ObjectKey, content_type: &str) -> Result<UploadId, StorageError>;

    /// Sends one part: `number` from 1, at least 5 MiB unless it is the last. May be repeated.
    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u16,
        body: Bytes,
    ) -> Result<UploadedPart, StorageError>;

    /// Puts the parts together. An unclear answer (a time-out, 200 with an error in the body, a conflict) is settled
    /// by looking at the object: `size` is what it must have.
    async fn complete_multipart(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        size: u64,
    ) -> Result<ObjectMeta, StorageError>;

    /// Ends a multipart upload and frees its parts; one that is gone already is no error.
    async fn abort_multipart(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StorageError>;

    /// The uploads of exactly this key that are neither completed nor aborted.
    async fn open_uploads(&self, key: &ObjectKey) -> Result<Vec<UploadId>, StorageError>;

    /// What lies directly in a folder, as names without the folder: at most [`MOST_LISTED`], in no order to rely on.
    /// Nothing may be deleted because a list lacks it.
    async fn list(&self, folder: &ObjectKey) -> Result<Vec<String>, StorageError>;

    /// A link to read the object, signed without asking the store.
    async fn presign_get(&self, key: &ObjectKey, valid_for: Duration) -> Result<PresignedLink, StorageError>;
}
