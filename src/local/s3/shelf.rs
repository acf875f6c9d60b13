//! All buckets behind one lock: the place where conditions are checked and changes happen, one at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Result, s3_error};

use super::LocalS3Error;
use super::disk::{self, Bucket, Object};
use super::internal;

/// When a put may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// Always; an object of this key is replaced.
    Always,
    /// Only if there is no object of this key.
    IfAbsent,
    /// Only if the object of this key has this ETag (without quotes), or any if `None`.
    IfMatch(Option<String>),
}

impl Condition {
    /// The condition in a request's headers.
    pub(super) fn of(if_match: Option<&ETagCondition>, if_none_match: Option<&ETagCondition>) -> S3Result<Self> {
        match (if_match, if_none_match) {
            (None, None) => Ok(Self::Always),
            (None, Some(ETagCondition::Any)) => Ok(Self::IfAbsent),
            (Some(ETagCondition::Any), None) => Ok(Self::IfMatch(None)),
            (Some(ETagCondition::ETag(etag)), None) => Ok(Self::IfMatch(Some(etag.value().to_owned()))),
            _ => {
                Err(s3_error!(NotImplemented, "of conditions on writes, only If-None-Match: * and If-Match are known"))
            }
        }
    }

    /// Whether it holds for what is there now.
    pub(super) fn check(&self, present: Option<&Arc<Object>>) -> S3Result<()> {
        match (self, present) {
            (Self::IfAbsent, Some(_)) => Err(s3_error!(PreconditionFailed, "an object of this key exists")),
            (Self::IfMatch(_), None) => Err(s3_error!(NoSuchKey)),
            (Self::IfMatch(Some(etag)), Some(object)) if *etag != object.etag => {
                Err(s3_error!(PreconditionFailed, "the object of this key has another ETag"))
            }
            _ => Ok(()),
        }
    }
}

/// Every bucket below one folder, which is locked for this process.
#[derive(Debug)]
pub(super) struct Shelf {
    root: PathBuf,
    buckets: Mutex<BTreeMap<String, Bucket>>,
    _lock: File,
}

impl Shelf {
    /// Locks the folder and reads what is in it.
    pub(super) fn open(root: PathBuf) -> Result<Self, LocalS3Error> {
        let lock = disk::lock(&root)?;
        let mut buckets = BTreeMap::new();
        let entries = std::fs::read_dir(&root).map_err(LocalS3Error::io("read local storage"))?;
        for entry in entries {
            let entry = entry.map_err(LocalS3Error::io("read local storage"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if s3s::path::check_bucket_name(&name) && entry.path().is_dir() {
                buckets.insert(name, Bucket::load(entry.path())?);
            }
        }
        Ok(Self { root, buckets: Mutex::new(buckets), _lock: lock })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        // A bucket's memory follows its disk step by step: a panic in between leaves nothing half-changed.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a bucket; `false` if it exists.
    pub(super) fn create_bucket(&self, name: &str) -> std::io::Result<bool> {
        let mut buckets = self.lock();
        if buckets.contains_key(name) {
            return Ok(false);
        }
        buckets.insert(name.to_owned(), Bucket::create(self.root.join(name))?);
        Ok(true)
    }

    pub(super) fn delete_bucket(&self, name: &str) -> S3Result<()> {
        let mut buckets = self.lock();
        let bucket = buckets.get(name).ok_or_else(|| s3_error!(NoSuchBucket))?;
        if !bucket.is_empty() {
            return Err(s3_error!(BucketNotEmpty));
        }
        bucket.delete().map_err(internal)?;
        buckets.remove(name);
        Ok(())
    }

    /// The buckets' names, sorted.
    pub(super) fn bucket_names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Does something with one bucket while nobody else does anything.
    pub(super) fn with<T>(&self, bucket: &str, f: impl FnOnce(&mut Bucket) -> S3Result<T>) -> S3Result<T> {
        f(self.lock().get_mut(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?)
    }

    /// The folder for a bucket's new data files.
    pub(super) fn data_dir(&self, bucket: &str) -> S3Result<PathBuf> {
        self.with(bucket, |bucket| Ok(bucket.data_dir()))
    }

    /// An object.
    pub(super) fn object(&self, bucket: &str, key: &str) -> S3Result<Arc<Object>> {
        self.with(bucket, |bucket| bucket.objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey)))
    }

    /// Puts an object if the condition holds. Of any number of writers that want a new one, one succeeds.
    pub(super) fn put(&self, bucket: &str, object: Object, condition: &Condition) -> S3Result<Arc<Object>> {
        self.with(bucket, |bucket| {
            condition.check(bucket.objects.get(&object.key))?;
            bucket.put(object).map_err(internal)
        })
    }
}

/// Refuses keys that mean something to a file system or cannot be written in XML. None of them becomes a path here;
/// they are refused because no client of this program has a reason to send one.
pub(super) fn check_key(key: &str) -> S3Result<()> {
    if key.is_empty() || key.len() > 1024 {
        return Err(s3_error!(KeyTooLongError, "a key has 1 to 1024 bytes"));
    }
    if key.chars().any(char::is_control) || key.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(s3_error!(InvalidArgument, "a key has no control characters, and no '.' or '..' elements"));
    }
    Ok(())
}

/// Milliseconds since 1970, by this machine's clock: what `Last-Modified` says.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn timestamp(ms: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + std::time::Duration::from_millis(ms))
}

pub(super) fn strong(etag: &str) -> Option<ETag> {
    Some(ETag::Strong(etag.to_owned()))
}
