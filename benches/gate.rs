//! What the last gate costs: texts that it searches in a CPU second, and its CPU beside that of encoding the same file.
//!
//! `cargo bench --bench gate`; with `--profile dev` as the tests have it.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{TimeZone, Utc};
use classification::{ColumnKind, Policy, PolicyColumn, Predicate};
use data_exporter::jobs::{FileForm, FileReport, StagedPartition, Window};
use data_exporter::pipeline::TablePlan;
use data_exporter::pipeline::encode::Encoder;
use data_exporter::pipeline::encode::parquet::{ParquetEncoder, ParquetOptions};
use data_exporter::pipeline::gate::{self, Column, Search};
use data_exporter::storage::{
    ObjectKey, ObjectMeta, ObjectStore, PresignedLink, PutOutcome, StorageError, UploadId, UploadedPart,
};
use sha2::{Digest, Sha256};

#[allow(dead_code)]
#[path = "../classification/tests/it/pii/road.rs"]
mod road;

const ROWS: usize = 1_000_000;
const BATCH: usize = 8_192;

/// One object in memory.
#[derive(Debug)]
struct Memory(Bytes);

#[async_trait]
impl ObjectStore for Memory {
    fn bucket(&self) -> &str {
        "bucket"
    }
    async fn check(&self) -> Result<(), StorageError> {
        Ok(())
    }
    async fn put_if_absent(&self, _: &ObjectKey, _: Bytes, _: &str) -> Result<PutOutcome, StorageError> {
        unreachable!()
    }
    async fn replace(&self, _: &ObjectKey, _: &str, _: Bytes, _: &str) -> Result<PutOutcome, StorageError> {
        unreachable!()
    }
    async fn get(&self, _: &ObjectKey) -> Result<Bytes, StorageError> {
        unreachable!()
    }
    async fn get_range(&self, _: &ObjectKey, range: Range<u64>) -> Result<Bytes, StorageError> {
        Ok(self.0.slice(range.start as usize..range.end as usize))
    }
    async fn head(&self, _: &ObjectKey) -> Result<Option<ObjectMeta>, StorageError> {
        Ok(Some(ObjectMeta { size: self.0.len() as u64, etag: String::new() }))
    }
    async fn copy(&self, _: &ObjectKey, _: &str, _: &ObjectKey) -> Result<(), StorageError> {
        unreachable!()
    }
    async fn open_uploads(&self, _: &ObjectKey) -> Result<Vec<UploadId>, StorageError> {
        unreachable!()
    }
    async fn list(&self, _: &ObjectKey) -> Result<Vec<String>, StorageError> {
        unreachable!()
    }
    async fn delete(&self, _: &ObjectKey) -> Result<(), StorageError> {
        unreachable!()
    }
    async fn create_multipart(&self, _: &ObjectKey, _: &str) -> Result<UploadId, StorageError> {
        unreachable!()
    }
    async fn upload_part(&self, _: &ObjectKey, _: &UploadId, _: u16, _: Bytes) -> Result<UploadedPart, StorageError> {
        unreachable!()
    }
    async fn complete_multipart(
        &self,
        _: &ObjectKey,
        _: &UploadId,
        _: &[UploadedPart],
        _: u64,
    ) -> Result<ObjectMeta, StorageError> {
        unreachable!()
    }
    async fn abort_multipart(&self, _: &ObjectKey, _: &UploadId) -> Result<(), StorageError> {
        unreachable!()
    }
    async fn presign_get(&self, _: &ObjectKey, _: std::time::Duration) -> Result<PresignedLink, StorageError> {
        unreachable!()
    }
}

/// CPU seconds of the whole process so far.
fn cpu_seconds() -> f64 {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()))
        .sum::<f64>()
        / 1e9
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = cpu_seconds();
    let done = work();
    (done, cpu_seconds() - start)
}

fn column(name: &str, sql_type: &str, kind: ColumnKind, scan: bool) -> PolicyColumn {
    let cell = Predicate::Always;
    PolicyColumn { name: name.to_owned(), sql_type: sql_type.to_owned(), kind, cell, care: Vec::new(), scan }
}

/// A table like `probe_speed`, with two texts.
fn batch(dice: &mut road::Dice, texts: &[String], rows: usize) -> RecordBatch {
    let pick = |dice: &mut road::Dice, from: usize| texts[dice.below(from as u64) as usize].as_str();
    let sources = ["FUSION", "FUSION", "OWN"];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values((0..rows).map(|_| dice.next() as i64)))),
        ("source", Arc::new(StringArray::from_iter_values((0..rows).map(|row| sources[row % 3])))),
        ("speed", Arc::new(Float64Array::from_iter_values((0..rows).map(|_| dice.below(1300) as f64 / 10.0)))),
        ("lon", Arc::new(Float64Array::from_iter_values((0..rows).map(|_| dice.below(1 << 40) as f64 / 1e9)))),
        ("lat", Arc::new(Float64Array::from_iter_values((0..rows).map(|_| dice.below(1 << 40) as f64 / 1e9)))),
        ("road", Arc::new(StringArray::from_iter_values((0..rows).map(|_| pick(dice, 2_000))))),
        ("note", Arc::new(StringArray::from_iter_values((0..rows).map(|_| pick(dice, texts.len()))))),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

fn plan(scan: bool) -> TablePlan {
    let columns = vec![
        column("id", "bigint", ColumnKind::Number, false),
        column("source", "text", ColumnKind::Text, false),
        column("speed", "double precision", ColumnKind::Number, false),
        column("lon", "double precision", ColumnKind::Number, false),
        column("lat", "double precision", ColumnKind::Number, false),
        column("road", "text", ColumnKind::Text, scan),
        column("note", "text", ColumnKind::Text, scan),
    ];
    let start = Utc.with_ymd_and_hms(2026, 3, 2, 0, 0, 0).unwrap();
    let number = "double precision";
    let text = "character varying";
    TablePlan {
        policy: Policy {
            table: "probe".parse().unwrap(),
            columns,
            rows: Predicate::one_of("source", ["FUSION", "OWN"]),
            row_rules: Vec::new(),
            warnings: Vec::new(),
            pii_rules: String::new(),
            decisions: Vec::new(),
            hash: "hash".to_owned(),
        },
        window: Window { start, end: start },
        form: FileForm::PARQUET,
        manifest_types: ["bigint", text, number, number, number, text, text].map(str::to_owned).to_vec(),
        options: BTreeMap::new(),
        day: None,
    }
}

fn main() {
    let mut dice = road::Dice::new(5);
    let scanner = classification::pii::Scanner::new(&classification::pii::PiiRules::default());
    let mut texts: Vec<String> = Vec::with_capacity(ROWS);
    while texts.len() < ROWS {
        let text = road::clean(&mut dice);
        if text.len() <= 48 && scanner.scan(&text).is_empty() {
            texts.push(text);
        }
    }
    let search = Search::new("").unwrap();
    // Hexadecimal numbers, points and dashes keep every condition busy.
    let noise: Vec<String> = (0..ROWS)
        .map(|_| (0..24).map(|_| char::from(b"0123456789abcdefXYZ.:-+ /="[dice.below(26) as usize])).collect())
        .collect();
    for (name, json, texts) in
        [("texts about roads", false, &texts), ("the same as JSON", true, &texts), ("noisy texts", false, &noise)]
    {
        let (found, seconds) = timed(|| {
            let mut column = Column::new(&search, json);
            column.push(texts.iter().map(String::as_str));
            column.finish()
        });
        let bytes: usize = texts.iter().map(String::len).sum();
        println!(
            "{ROWS} {name} of {:.1} bytes: {:.2} million a CPU second, {} found",
            bytes as f64 / ROWS as f64,
            ROWS as f64 / seconds / 1e6,
            found.labels.values().sum::<u64>()
        );
    }

    let batches: Vec<RecordBatch> = (0..ROWS / BATCH).map(|_| batch(&mut dice, &texts, BATCH)).collect();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let metadata = vec![("exporter.policy_hash".to_owned(), "hash".to_owned())];
    let options = ParquetOptions { metadata, ..ParquetOptions::default() };
    let ((file, sha256), encoding) = timed(|| {
        let mut encoder = Box::new(ParquetEncoder::new(batches[0].schema(), options).unwrap());
        let mut file = Vec::new();
        for batch in &batches {
            encoder.write(batch).unwrap();
            file.extend(encoder.drain().concat());
        }
        file.extend(encoder.finish().unwrap().bytes.concat());
        let sha256: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        (file, sha256)
    });
    let staged = StagedPartition {
        ordinal: 0,
        scan: serde_json::Value::Null,
        staging_key: "staged".to_owned(),
        row_count: rows as i64,
        byte_count: file.len() as i64,
        sha256,
        etag: String::new(),
        snapshot_id: None,
        report: FileReport::default(),
    };
    println!("a file of {rows} rows, {} bytes: encoding and hashing took {encoding:.2} CPU seconds", file.len());
    let store = Memory(Bytes::from(file));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    for (name, scan) in [("rows alone", false), ("rows and both texts", true)] {
        let plan = plan(scan);
        let (report, seconds) = timed(|| {
            let staged = std::slice::from_ref(&staged);
            runtime.block_on(gate::pass(&store, staged, &plan, 1.0, &Arc::default(), &|| 1)).unwrap()
        });
        println!("gate over {name}: {seconds:.2} CPU seconds, {:.2} of encoding; {report:?}", seconds / encoding);
    }
}
