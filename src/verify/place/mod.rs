//! Where manifests and files are: a folder, a bucket, or behind links. A place gives bytes and judges nothing; what it
//! says of trouble holds no query of an address, since that is what opens a link.

mod bucket;
mod folder;
mod link;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

pub use self::bucket::BucketPlace;
pub use self::folder::FolderPlace;
pub use self::link::LinkPlace;
pub use super::manifest::Entry;
use crate::pipeline::gate::Ranges;

/// The largest manifest that is read, in bytes: a thousand files take less than one MiB.
const LARGEST_MANIFEST: u64 = 64 << 20;
/// Bytes that are read at once.
const PIECE: u64 = 2 << 20;

/// Why something cannot be read, in words that follow its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(pub String);

impl Trouble {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    fn manifest_too_large() -> Self {
        Self::new(format!("is larger than the {} MiB that a manifest may have", LARGEST_MANIFEST >> 20))
    }
}

/// Where a manifest is, and the files that it lists.
#[async_trait]
pub trait Place: Send + Sync {
    /// The manifest, whole.
    async fn manifest(&self) -> Result<Bytes, Trouble>;

    /// Finds a file.
    async fn open(&self, entry: &Entry) -> Result<Box<dyn Source>, Trouble>;

    /// Names of what lies beside the manifest.
    async fn beside(&self) -> Result<Vec<String>, Trouble>;
}

/// A file that was found.
#[async_trait]
pub trait Source: Send + Sync {
    /// Bytes.
    fn size(&self) -> u64;

    /// The bytes of a half-open range.
    async fn range(&self, range: Range<u64>) -> Result<Bytes, Trouble>;

    /// Sends the whole file, piece by piece and in order.
    async fn send(&self, pieces: mpsc::Sender<Bytes>) -> Result<(), Trouble>;
}

/// A source, as the gate wants its ranges.
pub(super) struct Of<'s>(pub(super) &'s dyn Source);

#[async_trait]
impl Ranges for Of<'_> {
    type Error = Trouble;

    async fn range(&self, range: Range<u64>) -> Result<Bytes, Trouble> {
        self.0.range(range).await
    }
}
