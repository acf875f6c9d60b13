//! Reads a staged file back, once, in order: hashes every byte, decodes what the checks ask for, and checks it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use classification::ColumnKind;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::super::plan::TablePlan;
use super::GateReport;
use super::geometry::is_wkb;
use super::groups::RowGroups;
use super::rows::{Breach, RowChecks};
use super::search::{Column, Found, Search};
use super::times::Times;
use crate::jobs::Progress;

/// What is known of a file before it is read through.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) metadata: ParquetMetaData,
    pub(super) schema: SchemaRef,
    pub(super) size: u64,
    /// In hex; `None` where whoever sends the pieces hashes them.
    pub(super) sha256: Option<String>,
    /// Its place among the table's files.
    pub(super) ordinal: u64,
    /// The time range that rows are counted by.
    pub(super) times: Option<Times>,
}

/// Why a file does not pass.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is not what was staged, or breaks the policy: in words that follow "file 0 of 'table'".
    Broken(String),
    /// It has other columns: in the same words.
    Columns(String),
    /// Values that hold personal data: how many, by column and entity.
    Personal(BTreeMap<(String, String), u64>),
}

impl From<ParquetError> for Refusal {
    fn from(_: ParquetError) -> Self {
        Self::Broken("cannot be decoded".to_owned())
    }
}

/// How files of a table are read.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) checks: RowChecks,
    /// Columns that are searched: name, and whether they hold JSON.
    pub(super) searched: Vec<(String, bool)>,
    pub(super) search: Option<Search>,
    sample: f64,
    /// Each batch and each column that was checked, so that it is seen to go on.
    progress: Arc<Progress>,
}

impl Reader {
    /// By this plan's policy, searching this share of the row groups; what it has checked is counted into `progress`.
    ///
    /// # Errors
    /// PII rules that cannot be read.
    pub(super) fn new(plan: &TablePlan, sample: f64, progress: Arc<Progress>) -> Result<Self, &'static str> {
        let policy = &plan.policy;
        let columns = policy.columns.iter().filter(|column| column.scan);
        let searched: Vec<_> = columns.map(|column| (column.name.clone(), column.kind == ColumnKind::Json)).collect();
        let search = if searched.is_empty() { None } else { Some(Search::new(&policy.pii_rules)?) };
        Ok(Self { checks: RowChecks::new(plan), searched, search, sample, progress })
    }

    /// The columns that are read: those that a check asks for, or else the smallest, so that rows are counted.
    fn columns(&self, expected: &Expected) -> Vec<usize> {
        let fields = expected.schema.fields();
        let needed = self.checks.needed();
        let timed = |name: &str| expected.times.as_ref().is_some_and(|times| times.column == name);
        let searched = |name: &str| self.searched.iter().any(|(searched, _)| searched == name);
        let asked = |name: &str| needed.contains(name) || searched(name) || timed(name);
        let columns: Vec<usize> = (0..fields.len()).filter(|position| asked(fields[*position].name())).collect();
        if !columns.is_empty() {
            return columns;
        }
        let size = |column: &usize| {
            let groups = expected.metadata.row_groups().iter();
            let described = expected.metadata.file_metadata().schema_descr();
            let chunks = groups.flat_map(|group| group.columns().iter().enumerate());
            let own = chunks.filter(|(leaf, _)| described.get_column_root_idx(*leaf) == *column);
            own.map(|(_, chunk)| chunk.compressed_size()).sum::<i64>()
        };
        (0..fields.len()).min_by_key(size).into_iter().collect()
    }

    /// Whether a row group is searched: the same ones each time, spread over a table's files.
    pub(super) fn samples(&self, ordinal: u64, group: u64) -> bool {
        let place = (ordinal + group) as f64;
        (place * self.sample).fract() < self.sample
    }

    /// Reads a file whose pieces come in order. `None` when they ended before the file: whoever sent them knows why.
    /// Blocks: not for a reactor's thread.
    pub(super) fn read(
        &self,
        expected: Expected,
        mut pieces: mpsc::Receiver<Bytes>,
    ) -> Result<Option<GateReport>, Refusal> {
        let columns = self.columns(&expected);
        let row_groups = expected.metadata.num_row_groups();
        let counts: Vec<i64> = expected.metadata.row_groups().iter().map(|group| group.num_rows()).collect();
        let outside = expected.times.as_ref().map(|_| 0);
        let mut report = GateReport { row_groups: row_groups as u64, outside, ..GateReport::default() };
        let mut personal = BTreeMap::new();
        let mut hash = Sha256::new();
        let mut groups = RowGroups::new(expected.metadata, expected.schema, &columns, expected.size);
        let mut seen = 0;
        while seen < expected.size {
            let Some(piece) = pieces.blocking_recv() else { return Ok(None) };
            hash.update(&piece);
            seen += piece.len() as u64;
            groups.push(&piece, &mut |group, batches| {
                let mut searching = self.samples(expected.ordinal, group as u64).then(|| self.searching()).flatten();
                let mut rows = 0;
                for batch in batches {
                    let batch =
                        batch.map_err(|_| Refusal::Broken(format!("cannot be decoded in row group {group}")))?;
                    rows += batch.num_rows() as u64;
                    self.check(&batch)?;
                    if let Some(times) = &expected.times {
                        let outside = batch.column_by_name(&times.column).and_then(|values| times.outside(values));
                        report.outside = report.outside.zip(outside).map(|(sum, outside)| sum + outside);
                    }
                    for column in searching.iter_mut().flatten() {
                        column.add(&batch)?;
                    }
                }
                if i64::try_from(rows) != Ok(counts[group]) {
                    let counted = counts[group];
                    return Err(Refusal::Broken(format!("has {rows} rows in row group {group} instead of {counted}")));
                }
                report.rows += rows;
                for column in searching.into_iter().flatten() {
                    report.values += column.values;
                    let (name, found) = column.finish();
                    self.progress.checked();
                    report.distinct += found.values;
                    for (label, count) in found.labels {
                        *personal.entry((name.to_owned(), label)).or_default() += count;
                    }
                }
                report.searched += u64::from(self.samples(expected.ordinal, group as u64));
                Ok::<(), Refusal>(())
            })?;
        }
        if groups.next_group() != row_groups {
            return Err(Refusal::Broken("ends before its last row group".to_owned()));
        }
        let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if expected.sha256.is_some_and(|expected| expected != sha256) {
            return Err(Refusal::Broken("has another SHA-256 than what was staged".to_owned()));
        }
        if personal.is_empty() { Ok(Some(report)) } else { Err(Refusal::Personal(personal)) }
    }

    /// Holds rows to the policy.
    pub(super) fn check(&self, batch: &RecordBatch) -> Result<(), Refusal> {
        self.progress.checked();
        match self.checks.check(batch) {
            Ok(None) => Ok(()),
            Ok(Some(Breach::Rows(columns))) => Err(Refusal::Broken(format!(
                "holds rows that the policy does not admit, by {}",
                if columns.is_empty() { "any rule".to_owned() } else { columns.join(" and ") }
            ))),
            Ok(Some(Breach::Cells(column))) => {
                Err(Refusal::Broken(format!("holds values of '{column}' where the policy wants NULL")))
            }
            Err(_) => Err(Refusal::Broken("cannot be compared with the policy".to_owned())),
        }
    }

    fn searching(&self) -> Option<Vec<Searching<'_>>> {
        let search = self.search.as_ref()?;
        let columns = self.searched.iter();
        Some(
            columns
                .map(|(name, json)| Searching { name, column: Column::new(search, *json), values: 0, dictionary: None })
                .collect(),
        )
    }
}

/// One column of a row group on its way through the search.
#[derive(Debug)]
struct Searching<'r> {
    name: &'r str,
    column: Column<'r>,
    values: u64,
    /// The dictionary that was searched last; held, so that no other can take its place in memory.
    dictionary: Option<ArrayRef>,
}

impl<'r> Searching<'r> {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), Refusal> {
        let Some(array) = batch.column_by_name(self.name) else { return Ok(()) };
        if let Some(shapes) = array.as_binary_opt::<i32>() {
            // Texts were to be searched: what came in their place must be coordinates and nothing else.
            return match shapes.iter().flatten().all(is_wkb) {
                true => Ok(()),
                false => Err(Refusal::Broken(format!("holds bytes in '{}' that are no geometry", self.name))),
            };
        }
        self.values += (array.len() - array.null_count()) as u64;
        if let Some(dictionary) = array.as_dictionary_opt::<Int32Type>() {
            let values = dictionary.values();
            let same = self.dictionary.as_ref().is_some_and(|last| same_buffer(last, values));
            if !same {
                self.column.push(values.as_string::<i32>().iter().flatten());
                self.dictionary = Some(Arc::clone(values));
            }
        } else if *array.data_type() == DataType::Utf8 {
            self.column.push(array.as_string::<i32>().iter().flatten());
        }
        Ok(())
    }

    fn finish(self) -> (&'r str, Found) {
        (self.name, self.column.finish())
    }
}

fn same_buffer(one: &ArrayRef, other: &ArrayRef) -> bool {
    let (one, other) = (one.as_string::<i32>(), other.as_string::<i32>());
    one.len() == other.len() && std::ptr::eq(one.value_data(), other.value_data())
}
