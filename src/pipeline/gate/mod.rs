//! The last gate: before anything is published, each staged file is read back from the store and checked against the
//! policy by an implementation of its own, which shares no detector with what removed personal data on the way.
//!
//! A file must be the bytes that were committed; have the policy's columns and types; hold only rows, and only values
//! in rows, that the policy admits, as far as the columns that decide it are in the file; and hold no personal data in
//! any column that the policy has searched. Each distinct value of a dictionary is searched once. A file that is not so
//! stops its table: nothing of it is published. What only a footer can hold, the hash of the policy, is asked of
//! Parquet alone.

mod again;
mod detect;
mod geometry;
mod groups;
mod json;
mod lines;
mod read;
mod rows;
mod rules;
mod search;
mod times;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{FuturesOrdered, StreamExt};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use again::{Again, Described, DescribedColumn, Known, Opened, Sought, Wrong};
pub use search::{Column, Found, Search};
pub use times::TimeColumn;

use super::encode::footer::{self, Footer};
use super::extract::POLICY_HASH;
use super::plan::TablePlan;
use crate::error::{ErrorCode, Failure};
use crate::jobs::{ExportFormat, Progress, StagedPartition};
use crate::storage::{ObjectKey, ObjectStore, StorageError};
use crate::warehouse::{ColumnOptions, GeometryForm};
use lines::ExpectedLines;
use read::{Expected, Reader, Refusal};

/// The end of a file that is read first: most footers are shorter.
const FIRST_TAIL: u64 = 64 << 10;
/// Bytes that are asked for at once when a file is read through.
const PIECE: u64 = 2 << 20;
/// Pieces between the store and the checks. With the one that is on its way and the one that is looked at, and a row
/// group, this is what a file takes in memory.
const PIECES_WAITING: usize = 1;

/// What the gate has read, for the manifest. Follows from the files and the setting alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GateReport {
    /// Rows that were decoded.
    pub rows: u64,
    /// Texts in searched columns, NULL not counted.
    pub values: u64,
    /// Texts that were looked at: of a dictionary, each once.
    pub distinct: u64,
    /// Row groups; of lines, each 65,536 are one.
    pub row_groups: u64,
    /// Row groups whose texts were searched: all, unless sampling is set.
    pub searched: u64,
    /// The share of row groups that was to be searched, where it is not all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    /// Values of CSV with a guard before what a spreadsheet would take for a formula, by column. A manifest says it in
    /// a place of its own.
    #[serde(skip)]
    pub guarded: BTreeMap<String, u64>,
    /// Rows outside of the time range that was asked about; `None` where none was, or where values cannot tell.
    #[serde(skip)]
    pub outside: Option<u64>,
}

/// Checks every file of a table, as many beside each other as `at_once` says whenever one can begin, one at least: each
/// takes a row group's memory, while others extract. Counts into `progress` what it has checked, since a row group may
/// take long of which nothing is read meanwhile.
pub async fn pass(
    store: &dyn ObjectStore,
    staged: &[StagedPartition],
    plan: &TablePlan,
    sample: f64,
    progress: &Arc<Progress>,
    at_once: &(dyn Fn() -> usize + Sync),
) -> Result<GateReport, Failure> {
    let table = plan.policy.table.to_string();
    let reader = Reader::new(plan, sample, Arc::clone(progress)).map_err(|problem| {
        Failure::new(ErrorCode::GateRefused, format!("'{table}' cannot be searched: {problem}; nothing was published"))
    })?;
    let reader = Arc::new(reader);
    let mut sum = GateReport { sample: (sample < 1.0).then(|| sample.to_string()), ..GateReport::default() };
    let (mut waiting, mut running) = (staged.iter(), FuturesOrdered::new());
    loop {
        while running.len() < at_once().max(1)
            && let Some(file) = waiting.next()
        {
            let reader = &reader;
            running.push_back(async move { (file.ordinal, check(store, file, plan, reader).await) });
        }
        let Some((ordinal, checked)) = running.next().await else { break };
        let report = checked?.map_err(|refusal| refused(&table, ordinal, refusal))?;
        sum.rows += report.rows;
        sum.values += report.values;
        sum.distinct += report.distinct;
        sum.row_groups += report.row_groups;
        sum.searched += report.searched;
        for (column, values) in report.guarded {
            *sum.guarded.entry(column).or_default() += values;
        }
    }
    metrics::counter!("exporter_gate_values_total").increment(sum.values);
    Ok(sum)
}

/// Says what was refused, to whoever watches and to whoever asked: columns, entities and counts, never values.
fn refused(table: &str, ordinal: i32, refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Broken(what) | Refusal::Columns(what) => {
            tracing::error!(table, file = ordinal, what, "the gate refused a file; nothing of its table is published");
            metrics::counter!("exporter_gate_refusals_total", "reason" => "policy").increment(1);
            Failure::new(
                ErrorCode::GateRefused,
                format!("file {ordinal} of '{table}' {what}; nothing of the table was published"),
            )
        }
        Refusal::Personal(found) => {
            metrics::counter!("exporter_gate_refusals_total", "reason" => "personal_data").increment(1);
            for ((column, entity), values) in &found {
                tracing::error!(
                    table,
                    file = ordinal,
                    column,
                    entity,
                    values,
                    "the gate found personal data; nothing of its table is published"
                );
                metrics::counter!("exporter_gate_findings_total", "entity" => entity.clone()).increment(*values);
            }
            let mut columns: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for ((column, entity), values) in &found {
                columns.entry(column).or_default().push(format!("{entity} in {values} values"));
            }
            let columns: Vec<String> =
                columns.into_iter().map(|(column, found)| format!("column '{column}': {}", found.join(", "))).collect();
            Failure::new(
                ErrorCode::GateFoundPersonalData,
                format!(
                    "file {ordinal} of '{table}' holds personal data ({}); nothing of the table was published, and its files are deleted",
                    columns.join("; ")
                ),
            )
        }
    }
}

/// Checks one file. The outer error is a fault of the store, the inner one the file's.
async fn check(
    store: &dyn ObjectStore,
    staged: &StagedPartition,
    plan: &TablePlan,
    reader: &Arc<Reader>,
) -> Result<Result<GateReport, Refusal>, Failure> {
    let broken = |what: String| Ok(Err(Refusal::Broken(what)));
    let key = ObjectKey::new(&staged.staging_key)?;
    let size = match store.head(&key).await? {
        Some(meta) => meta.size,
        None => return broken("is not in the object store any more".to_owned()),
    };
    if i64::try_from(size) != Ok(staged.byte_count) {
        return broken(format!("has {size} bytes instead of {}", staged.byte_count));
    }
    let ordinal = u64::try_from(staged.ordinal).unwrap_or(0);
    let sha256 = Some(staged.sha256.clone());
    let (send, pieces) = mpsc::channel(PIECES_WAITING);
    let reader = Arc::clone(reader);
    let checking = match plan.form.format {
        ExportFormat::Parquet => {
            let read = read_footer(size, &Stored { store, key: &key }).await?;
            let (footer, metadata) = match read {
                Ok(found) => found,
                Err(what) => return broken(what),
            };
            if let Err(what) = check_footer(&footer, &metadata, staged, plan) {
                return broken(what);
            }
            let expected = Expected { metadata, schema: footer.schema, size, sha256, ordinal, times: None };
            tokio::task::spawn_blocking(move || reader.read(expected, pieces))
        }
        ExportFormat::Csv | ExportFormat::Jsonl => {
            let columns = ExpectedLines::columns(plan);
            let rows = Some(u64::try_from(staged.row_count).unwrap_or(0));
            let expected = ExpectedLines { form: plan.form, columns, size, rows, sha256, ordinal, times: None };
            tokio::task::spawn_blocking(move || reader.read_lines(&expected, pieces))
        }
    };
    let fetching = fetch(store, &key, size, send);
    let (fetched, checked) = tokio::join!(fetching, checking);
    let checked = checked.map_err(|_| Failure::new(ErrorCode::Internal, "the gate stopped unexpectedly"))?;
    match checked {
        Ok(Some(report)) => Ok(Ok(report)),
        Err(refusal) => Ok(Err(refusal)),
        Ok(None) => {
            fetched?;
            Err(Failure::new(ErrorCode::Internal, "the gate stopped before the end of a file"))
        }
    }
}

/// Sends an object piece by piece, in order, until nobody takes them any more.
async fn fetch(store: &dyn ObjectStore, key: &ObjectKey, size: u64, send: mpsc::Sender<Bytes>) -> Result<(), Failure> {
    let mut from = 0;
    while from < size {
        let to = size.min(from + PIECE);
        let piece = store.get_range(key, from..to).await?;
        from = to;
        if send.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Where ranges of a file come from.
#[async_trait]
pub trait Ranges: Sync {
    /// Why one did not come.
    type Error: Send;

    /// The bytes of a half-open range.
    async fn range(&self, range: Range<u64>) -> Result<Bytes, Self::Error>;
}

/// An object of a store.
struct Stored<'a> {
    store: &'a dyn ObjectStore,
    key: &'a ObjectKey,
}

#[async_trait]
impl Ranges for Stored<'_> {
    type Error = StorageError;

    async fn range(&self, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.store.get_range(self.key, range).await
    }
}

/// The footer of a file of this size. The inner error is the file's.
async fn read_footer<R: Ranges>(size: u64, file: &R) -> Result<Result<(Footer, ParquetMetaData), String>, R::Error> {
    let tail = |length: u64| -> Range<u64> { size.saturating_sub(length)..size };
    let mut bytes = file.range(tail(FIRST_TAIL)).await?;
    let length = match footer::length(&bytes) {
        Ok(length) => length,
        Err(error) => return Ok(Err(format!("is no Parquet file: {error}"))),
    };
    if length > bytes.len() as u64 && length <= size {
        bytes = file.range(tail(length)).await?;
    }
    Ok(decode_footer(&bytes, length, size))
}

fn decode_footer(tail: &[u8], length: u64, size: u64) -> Result<(Footer, ParquetMetaData), String> {
    let footer = footer::read(tail, size).map_err(|error| format!("is no Parquet file: {error}"))?;
    // The footer's length and the magic, eight bytes, stand behind it.
    let thrift = usize::try_from(length).ok().and_then(|length| tail.len().checked_sub(length));
    let thrift = thrift.and_then(|start| tail.get(start..tail.len() - 8)).unwrap_or_default();
    let metadata =
        ParquetMetaDataReader::decode_metadata(thrift).map_err(|_| "has a footer that cannot be decoded".to_owned())?;
    Ok((footer, metadata))
}

/// What the footer says must be what was committed, and what the policy grants.
fn check_footer(
    footer: &Footer,
    metadata: &ParquetMetaData,
    staged: &StagedPartition,
    plan: &TablePlan,
) -> Result<(), String> {
    if i64::try_from(footer.rows) != Ok(staged.row_count) {
        return Err(format!("has {} rows instead of {}", footer.rows, staged.row_count));
    }
    match footer_faults(footer, metadata, plan).into_iter().next() {
        Some((_, what)) => Err(what),
        None => Ok(()),
    }
}

/// What a fault of a footer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Schema,
    Content,
    Policy,
}

/// Where a footer is not what the policy grants; without the policy's columns, nothing of their types is asked.
fn footer_faults(footer: &Footer, metadata: &ParquetMetaData, plan: &TablePlan) -> Vec<(Part, String)> {
    let mut faults = Vec::new();
    let found: Vec<&str> = footer.schema.fields().iter().map(|field| field.name().as_str()).collect();
    let granted: Vec<&str> = plan.policy.columns.iter().map(|column| column.name.as_str()).collect();
    if found != granted || !is_flat(footer, metadata) {
        faults.push((Part::Schema, format!("has the columns {found:?} where the policy grants {granted:?}")));
    } else {
        for (field, planned) in footer.schema.fields().iter().zip(&plan.manifest_types) {
            if type_name(field.data_type()).as_ref() != Some(planned) {
                let what = format!("has another type of '{}' than {planned}, which was planned", field.name());
                faults.push((Part::Schema, what));
            }
        }
        for (field, column) in footer.schema.fields().iter().zip(&plan.policy.columns) {
            let coordinates = || only_coordinates(field.data_type(), plan.options.get(&column.name));
            if column.scan && *field.data_type() != DataType::Utf8 && !coordinates() {
                let what = format!("holds '{}' in a type that cannot be searched for personal data", field.name());
                faults.push((Part::Schema, what));
            }
        }
    }
    for (number, group) in metadata.row_groups().iter().enumerate() {
        // What repeats has an entry for each item, and one for a row without any.
        let fits = |chunk: &ColumnChunkMetaData| match chunk.column_descr().max_rep_level() {
            0 => chunk.num_values() == group.num_rows(),
            _ => chunk.num_values() >= group.num_rows(),
        };
        if !group.columns().iter().all(fits) {
            let what = format!("has a column in row group {number} that is not as long as the others");
            faults.push((Part::Content, what));
        }
    }
    if footer.metadata.get(POLICY_HASH) != Some(&plan.policy.hash) {
        faults.push((Part::Policy, "was made under another policy".to_owned()));
    }
    faults
}

/// Whether each of a file's fields is a column.
fn is_flat(footer: &Footer, metadata: &ParquetMetaData) -> bool {
    metadata.file_metadata().schema_descr().root_schema().get_fields().len() == footer.schema.fields().len()
}

/// Whether a column that is searched as text leaves as well-known binary, in which there is none.
fn only_coordinates(data_type: &DataType, options: Option<&ColumnOptions>) -> bool {
    *data_type == DataType::Binary && options.and_then(|options| options.geometry) == Some(GeometryForm::Wkb)
}

/// A column's type in the words of a manifest.
fn type_name(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Boolean => "boolean",
        DataType::Decimal128(precision, scale) => return Some(format!("numeric({precision},{scale})")),
        DataType::Utf8 => "character varying",
        DataType::Binary | DataType::FixedSizeBinary(_) => "binary varying",
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp with time zone",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp without time zone",
        DataType::Date32 => "date",
        DataType::Time64(TimeUnit::Microsecond) => "time without time zone",
        DataType::List(_) | DataType::Struct(_) | DataType::Map(..) => "super",
        _ => return None,
    };
    Some(name.to_owned())
}
