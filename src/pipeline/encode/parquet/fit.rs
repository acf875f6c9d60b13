//! What a file's first row group tells of its columns, so that the others are written with less work: which texts repeat
//! themselves often enough for a large dictionary, which columns are not made smaller by compressing them, and of which
//! the smallest and largest values of pages tell nothing, since all pages hold everything.
//!
//! Nothing of it changes a value. A column that turns out otherwise later is a little larger than it had to be.

use arrow::array::{Array, AsArray};
use parquet::arrow::arrow_writer::ArrowColumnChunk;
use parquet::basic::{Compression, ConvertedType, Type};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::column_index::{ColumnIndexMetaData, PrimitiveColumnIndex};
use parquet::file::properties::{EnabledStatistics, WriterPropertiesBuilder};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, SchemaDescriptor};

use super::DICTIONARY;

/// Bits of a sketch. With as many distinct values its estimate is within a percent, with four times as many within ten.
const BITS: usize = 1 << 16;
/// The largest dictionary that a text gets, as it is in memory.
const LARGEST: usize = 1 << 20;
/// All larger dictionaries of a row group together.
const TOGETHER: usize = 2 << 20;
/// Where a dictionary is given up, above what was seen: there may be more rows in another row group.
const SLACK: usize = 2;
/// Bytes of the length that stands before a text.
const LENGTH: usize = 4;
/// So many texts tell whether there are many different ones.
const MANY: usize = 1 << 13;
/// Each text of a dictionary must come so often.
const OFTEN: f64 = 2.0;
/// Fewer pages do not tell whether statistics tell pages apart.
const PAGES: usize = 4;
/// Pages that reach over this share of what their row group reaches over, on average, are not told apart by it.
const WIDE: f64 = 0.9;
/// A column is compressed if that takes away at least this share of it.
const WORTH: f64 = 0.1;

/// Counts how many different texts there are, about, in little memory.
#[derive(Debug)]
struct Sketch {
    seen: Vec<u64>,
    texts: usize,
    bytes: usize,
}

impl Sketch {
    fn new() -> Self {
        Self { seen: vec![0; BITS / 64], texts: 0, bytes: 0 }
    }

    fn add(&mut self, array: &dyn Array) {
        let Some(texts) = array.as_string_opt::<i32>() else { return };
        for text in texts.iter().flatten() {
            self.texts += 1;
            self.bytes += text.len();
            let bit = hash(text.as_bytes()) as usize % BITS;
            self.seen[bit / 64] |= 1 << (bit % 64);
        }
    }

    /// Linear counting; infinite where every bit is taken.
    fn distinct(&self) -> f64 {
        let free = self.seen.iter().map(|word| word.count_zeros() as usize).sum::<usize>();
        -(BITS as f64) * (free as f64 / BITS as f64).ln()
    }

    /// Whether after many texts a small dictionary still holds them.
    fn is_small(&self) -> bool {
        self.texts >= MANY && self.size() <= DICTIONARY as f64 / 2.0
    }

    /// The bytes of all different texts, each with its length.
    fn size(&self) -> f64 {
        self.distinct() * (self.bytes as f64 / self.texts.max(1) as f64 + LENGTH as f64)
    }

    /// The bytes of a dictionary that makes less of these texts than what was written of them.
    fn dictionary(&self, written: &ColumnChunkMetaData) -> Option<usize> {
        let (texts, distinct, size) = (self.texts as f64, self.distinct(), self.size());
        if distinct * OFTEN > texts || size > LARGEST as f64 {
            return None;
        }
        let share = written.compressed_size() as f64 / written.uncompressed_size().max(1) as f64;
        let references = texts * distinct.log2().max(0.0).ceil() / 8.0;
        (references + size * share.min(1.0) < written.compressed_size() as f64).then_some(size as usize)
    }
}

/// Spreads texts over the bits of a sketch; nobody can gain by making it fail.
fn hash(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mix = |sum: u64, word: &[u8; 8]| (sum ^ u64::from_le_bytes(*word)).wrapping_mul(ODD).rotate_left(29);
    let sum = words.iter().chain([&last]).fold(bytes.len() as u64, mix);
    (sum ^ (sum >> 32)).wrapping_mul(ODD) >> 32
}

/// Looks on while the first row group is written. Columns are counted by leaves.
#[derive(Debug)]
pub(super) struct Fit {
    sketches: Vec<Option<Sketch>>,
}

impl Fit {
    pub(super) fn new(schema: &SchemaDescriptor) -> Self {
        let text = |leaf: &ColumnDescPtr| leaf.path().parts().len() == 1 && leaf.physical_type() == Type::BYTE_ARRAY;
        Self { sketches: schema.columns().iter().map(|leaf| text(leaf).then(Sketch::new)).collect() }
    }

    /// Sees a column's values, until it is clear that the dictionary which it has is large enough.
    pub(super) fn see(&mut self, leaf: usize, array: &dyn Array) {
        if let Some(place) = self.sketches.get_mut(leaf)
            && let Some(sketch) = place
        {
            sketch.add(array);
            if sketch.is_small() {
                *place = None;
            }
        }
    }

    /// Sets how the following row groups are written, from the chunks of the first.
    pub(super) fn set(
        self,
        mut properties: WriterPropertiesBuilder,
        chunks: &[ArrowColumnChunk],
    ) -> WriterPropertiesBuilder {
        let mut left = TOGETHER;
        for (sketch, chunk) in self.sketches.into_iter().zip(chunks) {
            let written = &chunk.close().metadata;
            let path = written.column_path().clone();
            if chunk.close().column_index.as_ref().is_some_and(|index| says_nothing(index, written.column_descr())) {
                properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
            }
            match sketch.and_then(|sketch| sketch.dictionary(written)).filter(|size| *size <= left) {
                Some(size) if size > DICTIONARY => {
                    left -= size;
                    properties = properties.set_column_dictionary_page_size_limit(path, size * SLACK);
                }
                _ if !compressible(written) => {
                    properties = properties.set_column_compression(path, Compression::UNCOMPRESSED);
                }
                _ => {}
            }
        }
        properties
    }
}

/// Whether compressing it has made it smaller, so that readers and we have something of it.
fn compressible(written: &ColumnChunkMetaData) -> bool {
    written.compressed_size() as f64 <= (1.0 - WORTH) * written.uncompressed_size() as f64
}

/// Whether the range of almost every page is that of the whole row group, of texts and measured numbers: no reader could leave
/// one out by it. Looking for the smallest and largest values costs a sixth of encoding numbers.
fn says_nothing(index: &ColumnIndexMetaData, column: &ColumnDescriptor) -> bool {
    let is_decimal = column.converted_type() == ConvertedType::DECIMAL;
    match index {
        ColumnIndexMetaData::INT32(index) if is_decimal => are_wide(&numbers(index, |value| f64::from(*value))),
        ColumnIndexMetaData::INT64(index) if is_decimal => are_wide(&numbers(index, |value| *value as f64)),
        ColumnIndexMetaData::FLOAT(index) => are_wide(&numbers(index, |value| f64::from(*value))),
        ColumnIndexMetaData::DOUBLE(index) => are_wide(&numbers(index, |value| *value)),
        ColumnIndexMetaData::BYTE_ARRAY(index) => {
            let ranges = || index.min_values_iter().zip(index.max_values_iter()).filter_map(|(min, max)| min.zip(max));
            let smallest = ranges().map(|(min, _)| min).min().unwrap_or_default();
            let largest = ranges().map(|(_, max)| max).max().unwrap_or_default();
            let same = smallest.iter().zip(largest).take_while(|(one, other)| one == other).count();
            let place = |bytes: &[u8]| {
                let mut first = [0; 8];
                first.iter_mut().zip(bytes.iter().skip(same)).for_each(|(to, from)| *to = *from);
                u64::from_be_bytes(first) as f64
            };
            are_wide(&ranges().map(|(min, max)| (place(min), place(max))).collect::<Vec<_>>())
        }
        // Whole numbers are times, dates and ids that grow with time, in whatever order they lie: files are cut by time, and a
        // reader leaves whole files out by them. The rest is rare, or in another order.
        _ => false,
    }
}

fn numbers<T>(index: &PrimitiveColumnIndex<T>, number: impl Fn(&T) -> f64) -> Vec<(f64, f64)> {
    let ranges = index.min_values_iter().zip(index.max_values_iter());
    ranges.filter_map(|(min, max)| min.zip(max)).map(|(min, max)| (number(min), number(max))).collect()
}

fn are_wide(pages: &[(f64, f64)]) -> bool {
    let smallest = pages.iter().map(|(min, _)| *min).fold(f64::INFINITY, f64::min);
    let largest = pages.iter().map(|(_, max)| *max).fold(f64::NEG_INFINITY, f64::max);
    let widths = pages.iter().map(|(min, max)| max - min).sum::<f64>();
    pages.len() >= PAGES && largest > smallest && widths >= WIDE * (largest - smallest) * pages.len() as f64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use arrow::record_batch::RecordBatch;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::Encoding;

    use super::super::super::Encoder;
    use super::super::{ParquetEncoder, ParquetOptions};
    use super::*;

    const ROWS: i64 = 1_000;

    /// Numbers without a pattern.
    fn noise(row: i64) -> u64 {
        hash(&row.to_le_bytes()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn batch(from: i64) -> RecordBatch {
        let rows = || from..from + ROWS;
        let text = |text: fn(i64) -> String| Arc::new(StringArray::from_iter_values(rows().map(text))) as ArrayRef;
        RecordBatch::try_from_iter([
            ("counted", Arc::new(Int64Array::from_iter_values(rows())) as ArrayRef),
            ("shuffled", Arc::new(Int64Array::from_iter_values(rows().map(|row| (noise(row) >> 1) as i64)))),
            ("noise", Arc::new(Float64Array::from_iter_values(rows().map(|row| noise(row) as f64)))),
            ("device", text(|row| format!("{:016x}{:016x}", noise(row % 4_000), noise(row % 4_000 + 7)))),
            ("unique", text(|row| format!("{:016x}{:016x}", noise(row), noise(row + 7)))),
            ("kind", text(|row| ["FUSION", "HERE"][noise(row) as usize % 2].to_owned())),
        ])
        .unwrap()
    }

    #[test]
    fn the_first_row_group_tells_how_the_others_are_written_and_no_value_changes() {
        let options = ParquetOptions { row_group_rows: 40_000, ..ParquetOptions::default() };
        let mut encoder = Box::new(ParquetEncoder::new(batch(0).schema(), options).unwrap());
        let batches: Vec<RecordBatch> = (0..80).map(|number| batch(number * ROWS)).collect();
        batches.iter().for_each(|batch| encoder.write(batch).unwrap());
        let file = Bytes::from(encoder.finish().unwrap().bytes.concat());
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(ROWS as usize);
        let metadata = Arc::clone(reader.metadata());
        assert_eq!(metadata.num_row_groups(), 2);
        let column = |group: usize, column: usize| metadata.row_group(group).column(column);
        let has_range =
            |chunk: &ColumnChunkMetaData| chunk.statistics().is_some_and(|said| said.min_bytes_opt().is_some());
        let only_references = |chunk: &ColumnChunkMetaData| {
            chunk.page_encoding_stats_mask().is_some_and(|mask| mask.is_only(Encoding::RLE_DICTIONARY))
        };
        let zstd = |chunk: &ColumnChunkMetaData| matches!(chunk.compression(), Compression::ZSTD(_));
        assert!((0..6).all(|number| has_range(column(0, number)) && zstd(column(0, number))));
        for (number, range, references, compressed) in [
            (0, true, false, true),
            (1, true, false, false),
            (2, false, false, false),
            (3, false, true, true),
            (4, false, false, true),
            // Of one bit a row there are two pages, too few to tell.
            (5, true, true, false),
        ] {
            let found = column(1, number);
            let name = found.column_path().string();
            assert_eq!(has_range(found), range, "range of {name}");
            assert_eq!(only_references(found), references, "dictionary of {name}");
            assert_eq!(zstd(found), compressed, "compression of {name}");
        }
        assert!(!only_references(column(0, 3)), "a dictionary of 4,000 texts was not given up");
        let read: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        assert!(read.iter().zip(&batches).all(|(read, written)| read.columns() == written.columns()));
        assert_eq!(read.len(), batches.len());
    }

    #[test]
    fn a_sketch_counts_different_texts() {
        for distinct in [1, 50, 5_000, 60_000] {
            let mut sketch = Sketch::new();
            let texts = (0..100_000).map(|row| format!("text {}", row % distinct));
            sketch.add(&StringArray::from_iter_values(texts));
            let found = sketch.distinct();
            assert!((found / f64::from(distinct) - 1.0).abs() < 0.05, "{found} for {distinct}");
        }
    }
}
