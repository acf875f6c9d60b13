//! Parquet: row groups are cut by memory and by rows, so that what an encoder holds does not depend on the table. The
//! first row group of a file tells how the others are best written.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;

mod fit;

use self::fit::Fit;
use super::pieces::Pieces;
use super::{EncodeError, EncodedTail, Encoder, geo};

/// Who wrote a file, in its footer.
pub const CREATED_BY: &str = concat!("data-exporter version ", env!("CARGO_PKG_VERSION"));

/// A page is cut here, before compression: small enough to be compressed out of the processor's own memory.
const PAGE: usize = 128 << 10;
/// All pages under way together, before compression: tables of many columns get smaller ones, and with them smaller
/// compression contexts, which no estimate of the writer counts.
const PAGES: usize = 16 << 20;
/// A dictionary that grows beyond this is given up: the column repeats itself too little for it to pay, and zstd finds
/// what repeats in plain pages too.
const DICTIONARY: usize = 32 << 10;

/// Columns that are written beside each other. Each has pages of its own and a compression context, a quarter of a MiB that
/// no estimate of the writer counts; of more columns one is written after the other, from rows that are held as they came.
const COLUMNS: usize = 24;
/// What is kept of a column's chunk until the file ends, about, and once more by whoever reads the file back.
const CHUNK: u64 = 1_300;
/// What is to be kept of one file's chunks, at most.
const CHUNKS: u64 = 4 << 20;

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ParquetCompression {
    /// zstd at level 1: hardly more work than snappy, and about a third smaller.
    #[default]
    Zstd,
    /// snappy.
    Snappy,
    /// gzip, for readers that know nothing else.
    Gzip,
    /// Pages as they are.
    None,
}

/// How a file is written.
#[derive(Debug, Clone)]
pub struct ParquetOptions {
    /// Compression.
    pub compression: ParquetCompression,
    /// A row group ends when it will take about so many bytes in the file.
    pub row_group_bytes: usize,
    /// It ends too when the encoder holds so many bytes for it, as it stands in memory. The allocator's share comes
    /// on top: a process holds about twice as much.
    pub row_group_memory: usize,
    /// A row group ends after so many rows.
    pub row_group_rows: usize,
    /// Written to the footer: job, policy hash, decisions.
    pub metadata: Vec<(String, String)>,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self {
            compression: ParquetCompression::default(),
            row_group_bytes: 7 << 20,
            row_group_memory: 20 << 20,
            row_group_rows: 1 << 20,
            metadata: Vec::new(),
        }
    }
}

/// The most bytes of rows, as they stand in memory, that one file of so many columns should hold: with more of them, what is
/// kept of its chunks until it ends is more than a worker has for it. Tables of few columns reach it at many GiB.
pub fn most_bytes(columns: usize) -> u64 {
    let row_group = ParquetOptions::default().row_group_bytes;
    let row_group = if columns > COLUMNS { waiting_at_most(row_group) } else { row_group };
    let row_groups = CHUNKS / (CHUNK * columns.max(1) as u64);
    row_groups.max(1) * row_group as u64
}

/// Bytes of rows that wait for the end of a row group, of a table with many columns. They are held once more while they are
/// written, and in thousands of small pieces.
fn waiting_at_most(row_group_bytes: usize) -> usize {
    row_group_bytes / 3 * 2
}

/// Writes one Parquet file.
pub struct ParquetEncoder {
    file: SerializedFileWriter<Pieces>,
    schema: SchemaRef,
    /// Makes the columns of the next row group: one maker for all of them, or, of a table with many columns, one for each,
    /// since a column that is begun takes 80 KiB before its first value.
    columns: Vec<ArrowRowGroupWriterFactory>,
    /// Those of the row group under way; none between two.
    open: Vec<ArrowColumnWriter>,
    open_rows: usize,
    /// The rows of the row group under way of a table with many columns, which are written one column after the other.
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    many: bool,
    /// Looks on while the first row group is written.
    fit: Option<Fit>,
    row_group_bytes: usize,
    row_group_memory: usize,
    row_group_rows: usize,
    rows: u64,
}

impl ParquetEncoder {
    /// An encoder of batches of this schema.
    ///
    /// # Errors
    /// When Parquet has no form for a column's type.
    pub fn new(schema: SchemaRef, options: ParquetOptions) -> Result<Self, EncodeError> {
        let (row_group_bytes, row_group_memory) = (options.row_group_bytes, options.row_group_memory);
        let row_group_rows = options.row_group_rows.max(1);
        let properties = properties(&schema, options)?;
        let (file, together) = ArrowWriter::try_new(Pieces::default(), schema.clone(), Some(properties))
            .and_then(ArrowWriter::into_serialized_writer)
            .map_err(failed("starting a file"))?;
        let many = file.schema_descr().num_columns() > COLUMNS;
        let columns = if many { each(&schema, file.properties()) } else { Ok(vec![together]) };
        let columns = columns.map_err(failed("starting a file"))?;
        let fit = (!many).then(|| Fit::new(file.schema_descr()));
        Ok(Self {
            file,
            schema,
            columns,
            open: Vec::new(),
            open_rows: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            many,
            fit,
            row_group_bytes,
            row_group_memory,
            row_group_rows,
            rows: 0,
        })
    }

    /// Adds rows to the row group under way; there is room for them.
    fn add(&mut self, batch: RecordBatch) -> Result<(), ParquetError> {
        self.open_rows += batch.num_rows();
        if self.many {
            self.waiting_bytes += batch.get_array_memory_size();
            self.waiting.push(batch);
            return Ok(());
        }
        if self.open.is_empty() {
            let number = self.file.flushed_row_groups().len();
            for columns in &self.columns {
                self.open.extend(columns.create_column_writers(number)?);
            }
        }
        let mut leaf = 0;
        for (field, array) in self.schema.fields().iter().zip(batch.columns()) {
            if let Some(fit) = &mut self.fit {
                fit.see(leaf, array);
            }
            for values in compute_leaves(field, array)? {
                let column = self.open.get_mut(leaf).ok_or_else(surplus)?;
                column.write(&values)?;
                leaf += 1;
            }
        }
        Ok(())
    }

    /// Writes what waits, one column after the other.
    fn write_waiting(&mut self) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
        let row_group = self.file.flushed_row_groups().len();
        let mut chunks = Vec::with_capacity(self.columns.len());
        let batches = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        for (number, (field, columns)) in self.schema.fields().iter().zip(&self.columns).enumerate() {
            let mut own = columns.create_column_writers(row_group)?;
            for batch in &batches {
                for (column, values) in own.iter_mut().zip(compute_leaves(field, batch.column(number))?) {
                    column.write(&values)?;
                }
            }
            // With the writer goes what it compressed with.
            for column in own {
                chunks.push(column.close()?);
            }
        }
        Ok(chunks)
    }

    /// Ends the row group under way, if there is one.
    fn end_row_group(&mut self) -> Result<(), ParquetError> {
        if self.open_rows == 0 {
            return Ok(());
        }
        self.open_rows = 0;
        let chunks: Vec<ArrowColumnChunk> = if self.many {
            self.write_waiting()?
        } else {
            std::mem::take(&mut self.open).into_iter().map(ArrowColumnWriter::close).collect::<Result<_, _>>()?
        };
        if let Some(fit) = self.fit.take() {
            let properties = fit.set(self.file.properties().as_ref().clone().into_builder(), &chunks).build();
            self.columns = vec![maker(&self.schema, properties)?];
        }
        let mut group = self.file.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close().map(drop)
    }

    fn is_full(&self) -> bool {
        if self.many {
            return self.open_rows >= self.row_group_rows
                || self.waiting_bytes >= waiting_at_most(self.row_group_bytes);
        }
        let size = || self.open.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum::<usize>();
        // The first is only to tell of the others.
        let most = if self.fit.is_some() { self.row_group_bytes / 2 } else { self.row_group_bytes };
        self.open_rows >= self.row_group_rows || size() >= most || self.held() >= self.row_group_memory
    }

    /// Bytes of memory that the row group under way takes.
    fn held(&self) -> usize {
        self.waiting_bytes + self.open.iter().map(ArrowColumnWriter::memory_size).sum::<usize>()
    }
}

fn surplus() -> ParquetError {
    ParquetError::General("a column that the schema has not".to_owned())
}

/// What makes the columns of row groups of this schema. Properties come by way of a file; nothing is ever written to this
/// one but its first bytes.
fn maker(schema: &SchemaRef, properties: WriterProperties) -> Result<ArrowRowGroupWriterFactory, ParquetError> {
    let (_, columns) =
        ArrowWriter::try_new(std::io::sink(), schema.clone(), Some(properties))?.into_serialized_writer()?;
    Ok(columns)
}

/// What makes the columns of each field alone.
fn each(schema: &SchemaRef, properties: &WriterPropertiesPtr) -> Result<Vec<ArrowRowGroupWriterFactory>, ParquetError> {
    let alone = |field: &FieldRef| Arc::new(Schema::new(vec![Arc::clone(field)]));
    schema.fields().iter().map(|field| maker(&alone(field), properties.as_ref().clone())).collect()
}

fn properties(schema: &SchemaRef, options: ParquetOptions) -> Result<WriterProperties, EncodeError> {
    let compression = match options.compression {
        ParquetCompression::Zstd => Compression::ZSTD(ZstdLevel::try_new(1).map_err(failed("setting zstd's level"))?),
        ParquetCompression::Snappy => Compression::SNAPPY,
        ParquetCompression::Gzip => Compression::GZIP(GzipLevel::default()),
        ParquetCompression::None => Compression::UNCOMPRESSED,
    };
    let columns = schema.fields().len().max(1);
    let page = (PAGES / columns).clamp(32 << 10, PAGE);
    // A row group of many columns has a page or two of each: an index of pages would find nothing that the chunk's own range
    // does not, and is held until the file ends.
    let many = columns > COLUMNS;
    let statistics = if many { EnabledStatistics::Chunk } else { EnabledStatistics::Page };
    let geo = geo::metadata(schema).map(|said| (geo::KEY.to_owned(), said));
    let metadata = options.metadata.into_iter().chain(geo).map(|(key, value)| KeyValue::new(key, value)).collect();
    Ok(WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(compression)
        .set_data_page_size_limit(page)
        .set_dictionary_page_size_limit(DICTIONARY.min(page))
        .set_statistics_enabled(statistics)
        .set_offset_index_disabled(many)
        .set_key_value_metadata(Some(metadata))
        .build())
}

fn failed<E: std::error::Error + Send + Sync + 'static>(doing: &'static str) -> impl Fn(E) -> EncodeError {
    super::failed("Parquet", doing)
}

impl Encoder for ParquetEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), EncodeError> {
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = (batch.num_rows() - from).min(self.row_group_rows - self.open_rows);
            self.add(batch.slice(from, rows)).map_err(failed("writing rows"))?;
            from += rows;
            if self.is_full() {
                self.end_row_group().map_err(failed("ending a row group"))?;
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn drain(&mut self) -> Vec<Bytes> {
        self.file.inner_mut().take()
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn memory(&self) -> usize {
        self.held() + self.file.inner().held()
    }

    fn finish(mut self: Box<Self>) -> Result<EncodedTail, EncodeError> {
        self.end_row_group().and_then(|()| self.file.finish().map(drop)).map_err(failed("ending a file"))?;
        let size = self.file.bytes_written() as u64;
        Ok(EncodedTail { bytes: self.file.inner_mut().take(), rows: self.rows, size })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, Int64Builder, ListBuilder, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::super::footer;
    use super::*;

    fn batch(from: i64, rows: i64) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + rows));
        let texts: ArrayRef = Arc::new(StringArray::from_iter(
            (from..from + rows).map(|id| (id % 7 != 0).then(|| format!("{id} {}", "x".repeat((id % 50) as usize)))),
        ));
        let schema =
            Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("text", DataType::Utf8, true)]);
        RecordBatch::try_new(Arc::new(schema), vec![ids, texts]).unwrap()
    }

    fn encode(batches: &[RecordBatch], options: ParquetOptions) -> (Vec<u8>, u64) {
        let mut encoder: Box<dyn Encoder> = Box::new(ParquetEncoder::new(batches[0].schema(), options).unwrap());
        let mut file = Vec::new();
        for batch in batches {
            encoder.write(batch).unwrap();
            file.extend(encoder.drain().concat());
        }
        let tail = encoder.finish().unwrap();
        file.extend(tail.bytes.concat());
        assert_eq!(tail.size, file.len() as u64);
        (file, tail.rows)
    }

    #[test]
    fn drained_pieces_make_the_file_and_groups_are_cut_by_rows_and_by_memory() {
        let batches: Vec<_> = (0..40).map(|index| batch(index * 1000, 1000)).collect();
        let defaults = ParquetOptions::default;
        for (name, options, groups) in [
            ("one group", defaults(), 1..=1),
            ("by rows", ParquetOptions { row_group_rows: 7000, ..defaults() }, 6..=6),
            ("by memory", ParquetOptions { row_group_memory: 200_000, ..defaults() }, 4..=20),
            ("by size", ParquetOptions { row_group_bytes: 100_000, ..defaults() }, 4..=20),
            ("snappy", ParquetOptions { compression: ParquetCompression::Snappy, ..defaults() }, 1..=1),
            ("gzip", ParquetOptions { compression: ParquetCompression::Gzip, ..defaults() }, 1..=1),
            ("none", ParquetOptions { compression: ParquetCompression::None, ..defaults() }, 1..=1),
        ] {
            let (file, rows) = encode(&batches, options);
            assert_eq!(rows, 40_000, "{name}");
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
            assert!(
                groups.contains(&reader.metadata().num_row_groups()),
                "{name}: {}",
                reader.metadata().num_row_groups()
            );
            assert_eq!(reader.metadata().file_metadata().created_by(), Some(CREATED_BY));
            let mut next = 0;
            for found in reader.build().unwrap() {
                let found = found.unwrap();
                let want = batch(next, found.num_rows() as i64);
                assert_eq!(found.columns(), want.columns(), "{name}");
                next += found.num_rows() as i64;
            }
            assert_eq!(next, 40_000, "{name}");
        }
    }

    #[test]
    fn bytes_leave_before_the_end() {
        let options = ParquetOptions { row_group_memory: 100_000, ..ParquetOptions::default() };
        let mut encoder = ParquetEncoder::new(batch(0, 1).schema(), options).unwrap();
        let mut drained = 0;
        for index in 0..40 {
            encoder.write(&batch(index * 1000, 1000)).unwrap();
            drained += encoder.drain().iter().map(Bytes::len).sum::<usize>();
            assert!(encoder.memory() < 400_000, "{}", encoder.memory());
        }
        assert!(drained > 100_000, "{drained}");
    }

    #[test]
    fn many_columns_are_written_one_after_the_other() {
        let lists = |from: i64| {
            let mut lists = ListBuilder::new(Int64Builder::new());
            for row in from..from + 500 {
                (0..row % 4).for_each(|item| lists.values().append_value(row + item));
                lists.append(row % 5 != 0);
            }
            Arc::new(lists.finish()) as ArrayRef
        };
        let wide = |from: i64| {
            let plain = batch(from, 500);
            let numbered = (0..COLUMNS).map(|number| (format!("c{number}"), Arc::clone(plain.column(number % 2))));
            RecordBatch::try_from_iter(numbered.chain([("lists".to_owned(), lists(from))])).unwrap()
        };
        let batches: Vec<_> = (0..20).map(|index| wide(index * 500)).collect();
        for (rows, bytes, groups) in [(1 << 20, 8 << 20, 1..=1), (3_000, 8 << 20, 4..=4), (1 << 20, 1 << 20, 2..=10)] {
            let options = ParquetOptions { row_group_rows: rows, row_group_bytes: bytes, ..ParquetOptions::default() };
            let (file, written) = encode(&batches, options);
            assert_eq!(written, 10_000);
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap().with_batch_size(500);
            assert!(groups.contains(&reader.metadata().num_row_groups()), "{}", reader.metadata().num_row_groups());
            let read: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
            assert_eq!(read.len(), batches.len());
            assert!(read.iter().zip(&batches).all(|(read, written)| read.columns() == written.columns()));
        }
    }

    #[test]
    fn what_is_kept_of_a_files_chunks_is_bounded() {
        let sizes: Vec<u64> = (1..=1_600).map(most_bytes).collect();
        assert!(sizes[COLUMNS..].is_sorted_by(|few, many| few >= many));
        assert!(sizes[10] > 1 << 30, "files of few columns are as large as was asked for: {}", sizes[10]);
        // 200 columns: what is kept is measured by `make bench ARGS=memory`.
        assert!((64 << 20..80 << 20).contains(&sizes[199]), "{}", sizes[199]);
        assert_eq!(sizes[1_599], 2 * sizes[1_599].min(waiting_at_most(7 << 20) as u64));
    }

    #[test]
    fn a_file_without_rows_is_whole() {
        let encoder = Box::new(ParquetEncoder::new(batch(0, 1).schema(), ParquetOptions::default()).unwrap());
        let tail = encoder.finish().unwrap();
        let file = tail.bytes.concat();
        assert_eq!((tail.rows, tail.size), (0, file.len() as u64));
        let footer = footer::read(&file, tail.size).unwrap();
        assert_eq!((footer.rows, footer.schema.fields().len()), (0, 2));
    }

    #[test]
    fn what_is_passed_in_stands_in_the_footer() {
        let metadata = vec![("exporter.policy_hash".to_owned(), "abc".to_owned())];
        let (file, _) = encode(&[batch(0, 10)], ParquetOptions { metadata, ..ParquetOptions::default() });
        let need = footer::length(&file).unwrap() as usize;
        let footer = footer::read(&file[file.len() - need..], file.len() as u64).unwrap();
        assert_eq!(footer.metadata.get("exporter.policy_hash").map(String::as_str), Some("abc"));
        assert_eq!(batch(0, 10).column(0).as_primitive::<Int64Type>().len() as u64, footer.rows);
    }
}
