//! A manifest on disk, with its files beside it.

use std::io::{ErrorKind, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;

use super::{Entry, LARGEST_MANIFEST, PIECE, Place, Source, Trouble};

/// A manifest's path.
#[derive(Debug)]
pub struct FolderPlace {
    manifest: PathBuf,
}

impl FolderPlace {
    /// The manifest of this path.
    pub fn new(manifest: impl Into<PathBuf>) -> Self {
        Self { manifest: manifest.into() }
    }

    fn folder(&self) -> &Path {
        match self.manifest.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }
}

fn trouble(error: &std::io::Error) -> Trouble {
    match error.kind() {
        ErrorKind::NotFound => Trouble::new("is not there"),
        kind => Trouble::new(format!("cannot be read: {kind}")),
    }
}

/// The size of a file that is nothing but a file: anything else might never end.
async fn size(path: &Path) -> Result<u64, Trouble> {
    let found = tokio::fs::metadata(path).await.map_err(|error| trouble(&error))?;
    if found.is_file() { Ok(found.len()) } else { Err(Trouble::new("is no file")) }
}

#[async_trait]
impl Place for FolderPlace {
    async fn manifest(&self) -> Result<Bytes, Trouble> {
        if size(&self.manifest).await? > LARGEST_MANIFEST {
            return Err(Trouble::manifest_too_large());
        }
        tokio::fs::read(&self.manifest).await.map(Bytes::from).map_err(|error| trouble(&error))
    }

    async fn open(&self, entry: &Entry) -> Result<Box<dyn Source>, Trouble> {
        let path = self.folder().join(&entry.name);
        let size = size(&path).await?;
        Ok(Box::new(OnDisk { path, size }))
    }

    async fn beside(&self) -> Result<Vec<String>, Trouble> {
        let mut entries = tokio::fs::read_dir(self.folder()).await.map_err(|error| trouble(&error))?;
        let mut names = Vec::new();
        while let Some(entry) = entries.next_entry().await.map_err(|error| trouble(&error))? {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

struct OnDisk {
    path: PathBuf,
    size: u64,
}

#[async_trait]
impl Source for OnDisk {
    fn size(&self) -> u64 {
        self.size
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes, Trouble> {
        let read = async {
            let mut file = File::open(&self.path).await?;
            file.seek(SeekFrom::Start(range.start)).await?;
            let mut bytes = Vec::new();
            file.take(range.end - range.start).read_to_end(&mut bytes).await?;
            Ok(Bytes::from(bytes))
        };
        read.await.map_err(|error| trouble(&error))
    }

    async fn send(&self, pieces: mpsc::Sender<Bytes>) -> Result<(), Trouble> {
        let mut file = File::open(&self.path).await.map_err(|error| trouble(&error))?.take(self.size);
        loop {
            let mut piece = BytesMut::with_capacity(usize::try_from(PIECE).unwrap_or(1 << 20));
            while piece.len() < piece.capacity() {
                if file.read_buf(&mut piece).await.map_err(|error| trouble(&error))? == 0 {
                    break;
                }
            }
            if piece.is_empty() || pieces.send(piece.freeze()).await.is_err() {
                return Ok(());
            }
        }
    }
}
