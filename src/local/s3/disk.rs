//! What is on disk, and the promises about it: a change is one rename, so a killed process leaves an object whole or
//! not there.
//!
//! ```text
//! {root}/.lock                            held by the one process that serves this folder
//! {root}/{bucket}/objects/{sha256 of key}.json    what an object is, and which data files it is made of
//! {root}/{bucket}/uploads/{id}.json               an open multipart upload
//! {root}/{bucket}/uploads/{id}.{part}.json        a part of it
//! {root}/{bucket}/data/{random}                   bytes; never changed once a record names them
//! ```
//!
//! No name that a client chose becomes a path, so none can leave its bucket, be too long, or be a file and a folder at
//! once. Data files that no record names (a request that was cut short) are removed at the next start.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::LocalS3Error;
use super::checksums::Sums;

/// A file of bytes. It is removed when the last user lets go of it, unless a record names it.
#[derive(Debug)]
pub(super) struct DataFile {
    path: PathBuf,
    kept: AtomicBool,
}

impl DataFile {
    /// A name for a new file in this folder; nobody else has it.
    pub(super) fn unused(dir: &Path) -> Arc<Self> {
        let path = dir.join(Uuid::now_v7().simple().to_string());
        Arc::new(Self { path, kept: AtomicBool::new(false) })
    }

    fn existing(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, kept: AtomicBool::new(true) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// A record names it from now on.
    pub(super) fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// No record names it any more; whoever is reading it may finish.
    pub(super) fn release(&self) {
        self.kept.store(false, Ordering::Release);
    }
}

impl Drop for DataFile {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Acquire) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What a client said of an object's content; given back as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attributes {
    pub(super) content_type: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// A piece of an object: a data file and its length in bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Segment {
    file: String,
    size: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ObjectRecord {
    key: String,
    etag: String,
    modified_ms: u64,
    attributes: Attributes,
    sums: Sums,
    segments: Vec<Segment>,
}

/// An object: what is known of it, and its data files in order.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) key: String,
    /// Without quotes.
    pub(super) etag: String,
    /// Milliseconds since 1970.
    pub(super) modified_ms: u64,
    pub(super) attributes: Attributes,
    pub(super) sums: Sums,
    /// Each with its length in bytes.
    pub(super) files: Vec<(Arc<DataFile>, u64)>,
}

impl Object {
    /// Bytes.
    pub(super) fn size(&self) -> u64 {
        self.files.iter().map(|(_, size)| size).sum()
    }

    fn record(&self) -> ObjectRecord {
        ObjectRecord {
            key: self.key.clone(),
            etag: self.etag.clone(),
            modified_ms: self.modified_ms,
            attributes: self.attributes.clone(),
            sums: self.sums.clone(),
            segments: self.files.iter().map(|(file, size)| Segment { file: file.name(), size: *size }).collect(),
        }
    }
}

/// An open multipart upload, as it is on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct UploadRecord {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) attributes: Attributes,
    /// The checksum that every part must carry, as S3 writes it, such as `CRC32C`.
    pub(super) algorithm: Option<String>,
    /// Milliseconds since 1970.
    pub(super) started_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct PartRecord {
    upload: String,
    number: u16,
    etag: String,
    modified_ms: u64,
    sums: Sums,
    file: String,
    size: u64,
}

/// A part that has arrived.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) number: u16,
    /// MD5 in hexadecimal, without quotes.
    pub(super) etag: String,
    /// Milliseconds since 1970.
    pub(super) modified_ms: u64,
    pub(super) sums: Sums,
    pub(super) file: Arc<DataFile>,
    /// Bytes.
    pub(super) size: u64,
}

/// An open multipart upload and its parts so far.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) record: UploadRecord,
    pub(super) parts: BTreeMap<u16, Part>,
}

/// One bucket, the disk's content in memory beside it. Every change goes to disk first.
#[derive(Debug)]
pub(super) struct Bucket {
    dir: PathBuf,
    pub(super) objects: BTreeMap<String, Arc<Object>>,
    pub(super) uploads: BTreeMap<String, Upload>,
}

impl Bucket {
    pub(super) fn create(dir: PathBuf) -> io::Result<Self> {
        for part in ["objects", "uploads", "data"] {
            fs::create_dir_all(dir.join(part))?;
        }
        Ok(Self { dir, objects: BTreeMap::new(), uploads: BTreeMap::new() })
    }

    pub(super) fn load(dir: PathBuf) -> Result<Self, LocalS3Error> {
        let mut bucket = Self::create(dir).map_err(LocalS3Error::io("prepare the bucket's folder in local storage"))?;
        let mut named = HashSet::new();
        for path in bucket.records("objects")? {
            let record: ObjectRecord = read_json(&path)?;
            named.extend(record.segments.iter().map(|segment| segment.file.clone()));
            let files = record.segments.iter().map(|s| (DataFile::existing(bucket.data_dir().join(&s.file)), s.size));
            let object = Object {
                key: record.key,
                etag: record.etag,
                modified_ms: record.modified_ms,
                attributes: record.attributes,
                sums: record.sums,
                files: files.collect(),
            };
            bucket.objects.insert(object.key.clone(), Arc::new(object));
        }
        let (parts, uploads): (Vec<_>, Vec<_>) = bucket.records("uploads")?.into_iter().partition(|path| is_part(path));
        for path in uploads {
            let record: UploadRecord = read_json(&path)?;
            bucket.uploads.insert(record.id.clone(), Upload { record, parts: BTreeMap::new() });
        }
        for path in parts {
            let record: PartRecord = read_json(&path)?;
            // An object that names the part's bytes means that the upload was completed just before the end.
            let Some(upload) = bucket.uploads.get_mut(&record.upload).filter(|_| !named.contains(&record.file)) else {
                bucket.uploads.remove(&record.upload);
                let _ = fs::remove_file(bucket.upload_path(&record.upload));
                let _ = fs::remove_file(path);
                continue;
            };
            named.insert(record.file.clone());
            let part = Part {
                number: record.number,
                etag: record.etag,
                modified_ms: record.modified_ms,
                sums: record.sums,
                file: DataFile::existing(bucket.dir.join("data").join(&record.file)),
                size: record.size,
            };
            upload.parts.insert(part.number, part);
        }
        bucket.sweep(&named).map_err(LocalS3Error::io("clean up local storage"))?;
        Ok(bucket)
    }

    /// The records in a folder; what a killed process left half-written is removed.
    fn records(&self, folder: &str) -> Result<Vec<PathBuf>, LocalS3Error> {
        let list = || -> io::Result<Vec<PathBuf>> {
            let mut found = Vec::new();
            for entry in fs::read_dir(self.dir.join(folder))? {
                let path = entry?.path();
                match path.extension().and_then(|e| e.to_str()) {
                    Some("json") => found.push(path),
                    Some("tmp") => fs::remove_file(path)?,
                    _ => {}
                }
            }
            found.sort();
            Ok(found)
        };
        list().map_err(LocalS3Error::io("read local storage"))
    }

    fn sweep(&self, named: &HashSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(self.data_dir())? {
            let entry = entry?;
            if !named.contains(entry.file_name().to_string_lossy().as_ref()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    pub(super) fn delete(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.dir)
    }

    fn object_path(&self, key: &str) -> PathBuf {
        let digest = Sha256::digest(key.as_bytes());
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join("objects").join(name + ".json")
    }

    fn upload_path(&self, id: &str) -> PathBuf {
        self.dir.join("uploads").join(format!("{id}.json"))
    }

    fn part_path(&self, id: &str, number: u16) -> PathBuf {
        self.dir.join("uploads").join(format!("{id}.{number:05}.json"))
    }

    /// Makes this the object of its key; what was there before goes when its last reader has finished.
    pub(super) fn put(&mut self, object: Object) -> io::Result<Arc<Object>> {
        write_json(&self.object_path(&object.key), &object.record())?;
        for (file, _) in &object.files {
            file.keep();
        }
        let object = Arc::new(object);
        if let Some(old) = self.objects.insert(object.key.clone(), Arc::clone(&object)) {
            old.files.iter().for_each(|(file, _)| file.release());
        }
        Ok(object)
    }

    pub(super) fn remove(&mut self, key: &str) -> io::Result<()> {
        if let Some(object) = self.objects.get(key) {
            fs::remove_file(self.object_path(key))?;
            object.files.iter().for_each(|(file, _)| file.release());
            self.objects.remove(key);
        }
        Ok(())
    }

    pub(super) fn open_upload(&mut self, record: UploadRecord) -> io::Result<()> {
        write_json(&self.upload_path(&record.id), &record)?;
        self.uploads.insert(record.id.clone(), Upload { record, parts: BTreeMap::new() });
        Ok(())
    }

    /// Adds a part to an open upload, in the place of an earlier one of its number; `false` if the upload is gone.
    pub(super) fn put_part(&mut self, id: &str, part: Part) -> io::Result<bool> {
        let path = self.part_path(id, part.number);
        let Some(upload) = self.uploads.get_mut(id) else { return Ok(false) };
        let record = PartRecord {
            upload: id.to_owned(),
            number: part.number,
            etag: part.etag.clone(),
            modified_ms: part.modified_ms,
            sums: part.sums.clone(),
            file: part.file.name(),
            size: part.size,
        };
        write_json(&path, &record)?;
        part.file.keep();
        if let Some(old) = upload.parts.insert(part.number, part) {
            old.file.release();
        }
        Ok(true)
    }

    /// Ends an upload, whose bytes `object` took over if it is given: the object first, then the upload's records.
    pub(super) fn close_upload(&mut self, id: &str, object: Option<Object>) -> io::Result<Option<Arc<Object>>> {
        let object = object.map(|object| self.put(object)).transpose()?;
        let Some(upload) = self.uploads.remove(id) else { return Ok(object) };
        let taken: HashSet<&Path> = object.iter().flat_map(|o| o.files.iter().map(|(file, _)| file.path())).collect();
        for part in upload.parts.values().filter(|part| !taken.contains(part.file.path())) {
            part.file.release();
        }
        // The upload's own record goes first: parts without one are swept at the next start.
        fs::remove_file(self.upload_path(id))?;
        for number in upload.parts.keys() {
            fs::remove_file(self.part_path(id, *number))?;
        }
        Ok(object)
    }
}

fn is_part(path: &Path) -> bool {
    path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem.contains('.'))
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let tmp = path.with_extension("tmp");
    fs::write(&tmp, serde_json::to_vec(value)?)?;
    fs::rename(&tmp, path)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, LocalS3Error> {
    let bytes = fs::read(path).map_err(LocalS3Error::io("read local storage"))?;
    serde_json::from_slice(&bytes).map_err(|_| LocalS3Error::Record { path: path.to_owned() })
}

/// Takes the folder for this process; the operating system gives it back however the process ends.
pub(super) fn lock(root: &Path) -> Result<File, LocalS3Error> {
    fs::create_dir_all(root).map_err(LocalS3Error::io("create the folder for local storage"))?;
    let file = File::create(root.join(".lock")).map_err(LocalS3Error::io("lock local storage"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LocalS3Error::InUse { root: root.to_owned() }),
        Err(TryLockError::Error(error)) => Err(LocalS3Error::io("lock local storage")(error)),
    }
}
