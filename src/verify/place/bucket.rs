//! A manifest in a bucket. A file is where the manifest says, if that is in the same bucket, or else beside it: whoever
//! copies an export to another bucket changes no manifest.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Entry, LARGEST_MANIFEST, PIECE, Place, Source, Trouble};
use crate::storage::{MOST_LISTED, ObjectKey, ObjectStore, StorageError};

/// A manifest's key in a bucket.
#[derive(Debug)]
pub struct BucketPlace {
    store: Arc<dyn ObjectStore>,
    manifest: ObjectKey,
}

impl BucketPlace {
    /// The manifest of this key.
    pub fn new(store: Arc<dyn ObjectStore>, manifest: ObjectKey) -> Self {
        Self { store, manifest }
    }

    fn folder(&self) -> Option<&str> {
        self.manifest.as_str().rsplit_once('/').map(|(folder, _)| folder)
    }

    async fn found(&self, key: ObjectKey) -> Result<Object, Trouble> {
        match self.store.head(&key).await {
            Ok(Some(meta)) => Ok(Object { store: Arc::clone(&self.store), key, size: meta.size }),
            Ok(None) => Err(Trouble::new("is not there")),
            Err(error) => Err(trouble(&error)),
        }
    }
}

fn trouble(error: &StorageError) -> Trouble {
    Trouble::new(format!("cannot be read: {error}"))
}

#[async_trait]
impl Place for BucketPlace {
    async fn manifest(&self) -> Result<Bytes, Trouble> {
        let manifest = self.found(self.manifest.clone()).await?;
        if manifest.size > LARGEST_MANIFEST {
            return Err(Trouble::manifest_too_large());
        }
        self.store.get(&self.manifest).await.map_err(|error| trouble(&error))
    }

    async fn open(&self, entry: &Entry) -> Result<Box<dyn Source>, Trouble> {
        let here = format!("s3://{}/", self.store.bucket());
        let said = entry.url.as_ref().and_then(|url| url.strip_prefix(&here)).map(str::to_owned);
        let key = said.unwrap_or_else(|| match self.folder() {
            Some(folder) => format!("{folder}/{}", entry.name),
            None => entry.name.clone(),
        });
        let key = ObjectKey::new(key).map_err(|_| Trouble::new("has an address that is none"))?;
        Ok(Box::new(self.found(key).await?))
    }

    async fn beside(&self) -> Result<Vec<String>, Trouble> {
        let why = |why: &str| Trouble::new(format!("what lies beside the manifest cannot be listed: {why}"));
        let folder = self.folder().and_then(|folder| ObjectKey::new(folder).ok()).ok_or_else(|| why("no folder"))?;
        let names = self.store.list(&folder).await.map_err(|error| why(&error.to_string()))?;
        if names.len() >= MOST_LISTED { Err(why("there is too much")) } else { Ok(names) }
    }
}

struct Object {
    store: Arc<dyn ObjectStore>,
    key: ObjectKey,
    size: u64,
}

#[async_trait]
impl Source for Object {
    fn size(&self) -> u64 {
        self.size
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes, Trouble> {
        self.store.get_range(&self.key, range).await.map_err(|error| trouble(&error))
    }

    async fn send(&self, pieces: mpsc::Sender<Bytes>) -> Result<(), Trouble> {
        let mut from = 0;
        while from < self.size {
            let to = self.size.min(from + PIECE);
            if pieces.send(self.range(from..to).await?).await.is_err() {
                break;
            }
            from = to;
        }
        Ok(())
    }
}
