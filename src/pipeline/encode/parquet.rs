//! Parquet: row groups are cut by memory and by rows, so that what an encoder holds does not depend on the table.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

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
            row_group_bytes: 8 << 20,
            row_group_memory: 20 << 20,
            row_group_rows: 1 << 20,
            metadata: Vec::new(),
        }
    }
}

/// Writes one Parquet file.
pub struct ParquetEncoder {
    writer: ArrowWriter<Pieces>,
    row_group_bytes: usize,
    row_group_memory: usize,
    rows: u64,
}

impl ParquetEncoder {
    /// An encoder of batches of this schema.
    pub fn new(schema: SchemaRef, options: ParquetOptions) -> Result<Self, EncodeError> {
        let (row_group_bytes, row_group_memory) = (options.row_group_bytes, options.row_group_memory);
        let properties = properties(&schema, options)?;
        let writer =
            ArrowWriter::try_new(Pieces::default(), schema, Some(properties)).map_err(failed("starting a file"))?;
        Ok(Self { writer, row_group_bytes, row_group_memory, rows: 0 })
    }
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
    let geo = geo::metadata(schema).map(|said| (geo::KEY.to_owned(), said));
    let metadata = options.metadata.into_iter().chain(geo).map(|(key, value)| KeyValue::new(key, value)).collect();
    Ok(WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(compression)
        .set_max_row_group_row_count(Some(options.row_group_rows.max(1)))
        .set_data_page_size_limit(page)
        .set_dictionary_page_size_limit(DICTIONARY.min(page))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_key_value_metadata(Some(metadata))
        .build())
}

fn failed<E: std::error::Error + Send + Sync + 'static>(doing: &'static str) -> impl Fn(E) -> EncodeError {
    super::failed("Parquet", doing)
}

impl Encoder for ParquetEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), EncodeError> {
        self.writer.write(batch).map_err(failed("writing rows"))?;
        self.rows += batch.num_rows() as u64;
        if self.writer.in_progress_size() >= self.row_group_bytes || self.writer.memory_size() >= self.row_group_memory
        {
            self.writer.flush().map_err(failed("ending a row group"))?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Vec<Bytes> {
        self.writer.inner_mut().take()
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn memory(&self) -> usize {
        self.writer.memory_size() + self.writer.inner().held()
    }

    fn finish(mut self: Box<Self>) -> Result<EncodedTail, EncodeError> {
        self.writer.finish().map_err(failed("ending a file"))?;
        let size = self.writer.bytes_written() as u64;
        Ok(EncodedTail { bytes: self.writer.inner_mut().take(), rows: self.rows, size })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
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
