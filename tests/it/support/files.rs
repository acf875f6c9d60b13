//! Files that have left, as a reader that is not ours finds them.

use std::path::{Path, PathBuf};

use data_exporter::jobs::{Compression, ExportFormat, FileChoice, FileForm, JobId, JobView};
use data_exporter::storage::{ObjectKey, ObjectStore};
use serde::Deserialize;

use super::inprocess::Running;
use super::platform::Platform;
use super::{python, s3};

/// The forms of files that the last gate reads, and that are tried therefore.
pub(crate) const FORMS: &[FileForm] = &[
    FileForm::PARQUET,
    FileForm { format: ExportFormat::Csv, compression: Compression::Gzip, formula_guard: true },
    FileForm { format: ExportFormat::Jsonl, compression: Compression::Zstd, formula_guard: true },
];

/// What a request says of its files to have them in this form.
pub(crate) fn choice(form: FileForm) -> FileChoice {
    let FileForm { format, compression, .. } = form;
    FileChoice { format: Some(format), compression: Some(compression) }
}

/// The arguments of `requestData` for this form.
pub(crate) fn arguments(form: FileForm) -> String {
    let format = match form.format {
        ExportFormat::Parquet => "PARQUET",
        ExportFormat::Csv => "CSV",
        ExportFormat::Jsonl => "JSONL",
    };
    let compression = match form.compression {
        Compression::None => "NONE",
        Compression::Snappy => "SNAPPY",
        Compression::Gzip => "GZIP",
        Compression::Zstd => "ZSTD",
    };
    format!("format: {format}, compression: {compression}")
}

/// A file, decoded.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Content {
    pub(crate) columns: Vec<String>,
    /// The texts of the cells; `None` is NULL.
    pub(crate) rows: Vec<Vec<Option<String>>>,
    /// What the file says of itself.
    pub(crate) metadata: Vec<String>,
}

/// What stands in these files, in their order.
pub(crate) fn read(files: &[PathBuf]) -> Vec<Content> {
    let contents: Vec<Content> =
        python::run("cells.py", files).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(contents.len(), files.len());
    contents
}

/// The folders that a job's tables have in the bucket, and every file of a table, fetched from S3 into a folder.
pub(crate) async fn fetch(platform: &Platform, view: &JobView, table: &str, folder: &Path) -> Vec<PathBuf> {
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let mut paths = Vec::new();
    for file in view.tables.iter().filter(|found| found.name.to_string() == table).flat_map(|found| &found.files) {
        let name = file.key.rsplit('/').next().unwrap();
        let path = folder.join(format!("{table}-{name}"));
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&path, store.get(&ObjectKey::new(&file.key).unwrap()).await.unwrap()).unwrap();
        paths.push(path);
    }
    paths
}

/// Requests the sample's last day of these tables in a form, and waits for the end.
pub(crate) async fn export(worker: &Running, tables: &[&str], form: FileForm) -> JobView {
    let job: JobId = worker.request_in(tables, choice(form)).await;
    worker.finished(job).await
}
