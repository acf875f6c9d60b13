//! A Parquet file as it comes by, from its first byte to its last: keeps the column chunks that are asked for until
//! their row group is whole, and hands it over. At most one row group is in memory.

use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{ConvertedType, Encoding};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};

/// Rows that are decoded at once, at most.
const BATCH_ROWS: i64 = 8192;
/// Bytes that are decoded at once, about.
const BATCH_BYTES: i64 = 2 << 20;

/// Column chunks of one row group, at their places in the file.
#[derive(Debug, Clone)]
struct Kept {
    size: u64,
    chunks: Arc<Vec<(u64, Bytes)>>,
}

impl Kept {
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let missing = || ParquetError::EOF("a page lies outside of its column chunk".to_owned());
        let (chunk, bytes) = self.chunks.iter().rfind(|(chunk, _)| *chunk <= start).ok_or_else(missing)?;
        let offset = usize::try_from(start - chunk).ok().filter(|offset| *offset <= bytes.len()).ok_or_else(missing)?;
        Ok(bytes.slice(offset..))
    }
}

impl Length for Kept {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Kept {
    type T = Cursor<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        self.from(start).map(Cursor::new)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF("a page reaches beyond its column chunk".to_owned()));
        }
        Ok(bytes.slice(..length))
    }
}

/// A column chunk that is still coming.
#[derive(Debug)]
struct Coming {
    start: u64,
    end: u64,
    bytes: Vec<u8>,
}

/// The row groups of a file, one after the other.
#[derive(Debug)]
pub(super) struct RowGroups {
    metadata: Arc<ParquetMetaData>,
    schema: SchemaRef,
    /// Column chunks, counted by leaves: a nested column has several.
    columns: Vec<usize>,
    size: u64,
    position: u64,
    next: usize,
    coming: VecDeque<Coming>,
    done: Vec<(u64, Bytes)>,
}

impl RowGroups {
    /// Of a file of this footer and Arrow schema, reading these columns.
    pub(super) fn new(metadata: ParquetMetaData, schema: SchemaRef, columns: &[usize], size: u64) -> Self {
        let described = metadata.file_metadata().schema_descr();
        let leaves = 0..described.num_columns();
        let columns = leaves.filter(|leaf| columns.contains(&described.get_column_root_idx(*leaf))).collect();
        let metadata = Arc::new(metadata);
        let mut groups =
            Self { metadata, schema, columns, size, position: 0, next: 0, coming: VecDeque::new(), done: Vec::new() };
        groups.expect();
        groups
    }

    /// Which row group comes next; as many as there are when all have come.
    pub(super) fn next_group(&self) -> usize {
        self.next
    }

    /// Looks forward to the chunks of the next row group.
    fn expect(&mut self) {
        self.done.clear();
        self.coming.clear();
        if let Some(group) = self.metadata.row_groups().get(self.next) {
            let ranges = self.columns.iter().filter_map(|column| group.columns().get(*column));
            let mut coming: Vec<Coming> = ranges
                .map(|chunk| {
                    let (start, length) = chunk.byte_range();
                    Coming { start, end: start.saturating_add(length), bytes: Vec::new() }
                })
                .collect();
            coming.sort_by_key(|chunk| chunk.start);
            self.coming = coming.into();
        }
    }

    /// Takes the next bytes of the file and hands each row group that they complete to `each`: its number and its
    /// batches.
    pub(super) fn push<E: From<ParquetError>>(
        &mut self,
        piece: &Bytes,
        each: &mut impl FnMut(usize, &mut dyn Iterator<Item = Result<RecordBatch, ArrowError>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (from, to) = (self.position, self.position + piece.len() as u64);
        self.position = to;
        while self.next < self.metadata.num_row_groups() {
            while let Some(chunk) = self.coming.front_mut() {
                let have = chunk.start + chunk.bytes.len() as u64;
                if have < from {
                    return Err(ParquetError::General("its row groups are not in order".to_owned()).into());
                }
                let end = chunk.end.min(to);
                if have < end {
                    let place = |position: u64| usize::try_from(position - from).unwrap_or(usize::MAX);
                    chunk.bytes.reserve_exact(usize::try_from(chunk.end - have).unwrap_or(0));
                    chunk.bytes.extend_from_slice(&piece[place(have)..place(end)]);
                }
                if end < chunk.end {
                    return Ok(());
                }
                if let Some(whole) = self.coming.pop_front() {
                    self.done.push((whole.start, Bytes::from(whole.bytes)));
                }
            }
            let mut batches = self.batches()?;
            each(self.next, &mut batches)?;
            drop(batches);
            self.next += 1;
            self.expect();
        }
        Ok(())
    }

    /// The batches of the row group that is whole.
    fn batches(&mut self) -> ParquetResult<impl Iterator<Item = Result<RecordBatch, ArrowError>> + use<>> {
        let group = self.metadata.row_group(self.next);
        let described = self.metadata.file_metadata().schema_descr();
        let mut chunks = vec![None; self.schema.fields().len()];
        for (leaf, chunk) in group.columns().iter().enumerate() {
            if let Some(place) = chunks.get_mut(described.get_column_root_idx(leaf)) {
                *place = Some(chunk);
            }
        }
        let fields: Vec<Field> = self
            .schema
            .fields()
            .iter()
            .zip(chunks)
            .map(|(field, chunk)| {
                let field = field.as_ref().clone();
                // Where every page of a text refers to the dictionary, its values are read once.
                if *field.data_type() == DataType::Utf8 && chunk.is_some_and(only_dictionary) {
                    let values = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                    field.with_data_type(values)
                } else {
                    field
                }
            })
            .collect();
        let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
        let reading = ArrowReaderMetadata::try_new(Arc::clone(&self.metadata), options)?;
        let bytes: i64 = self.columns.iter().map(|column| decoded_size(group.column(*column))).sum();
        let rows = (BATCH_BYTES.saturating_mul(group.num_rows()) / bytes.max(1)).clamp(1, BATCH_ROWS);
        let mask = ProjectionMask::leaves(self.metadata.file_metadata().schema_descr(), self.columns.iter().copied());
        let kept = Kept { size: self.size, chunks: Arc::new(std::mem::take(&mut self.done)) };
        ParquetRecordBatchReaderBuilder::new_with_metadata(kept, reading)
            .with_row_groups(vec![self.next])
            .with_projection(mask)
            .with_batch_size(usize::try_from(rows).unwrap_or(1))
            .build()
    }
}

/// Whether every page of a text refers to the dictionary.
///
/// Only of plain text: the dictionary of any other kind of text, such as JSON, is bytes to the reader.
fn only_dictionary(chunk: &ColumnChunkMetaData) -> bool {
    chunk.column_descr().converted_type() == ConvertedType::UTF8
        && chunk
            .page_encoding_stats_mask()
            .is_some_and(|mask| mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY))
}

/// What a chunk takes in memory, at least: its pages, or its texts written out.
fn decoded_size(chunk: &ColumnChunkMetaData) -> i64 {
    let texts = if only_dictionary(chunk) { None } else { chunk.unencoded_byte_array_data_bytes() };
    texts.unwrap_or(0).max(chunk.uncompressed_size())
}
