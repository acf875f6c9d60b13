//! Reads what a Parquet file says of itself from its last bytes alone; never a page of data.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::ParquetMetaDataReader;

use super::EncodeError;

/// The length of the footer and the magic, which end every file.
const TRAILER: usize = 8;
const MAGIC: &[u8; 4] = b"PAR1";

/// What a file says of itself.
#[derive(Debug, Clone)]
pub struct Footer {
    /// Rows in all row groups.
    pub rows: u64,
    /// Row groups.
    pub row_groups: usize,
    /// Names and types of its columns.
    pub schema: SchemaRef,
    /// Key-value metadata, without the Arrow schema.
    pub metadata: BTreeMap<String, String>,
    /// Who wrote it.
    pub created_by: String,
}

/// How many of a file's last bytes hold its footer, from at least its last 8.
pub fn length(tail: &[u8]) -> Result<u64, EncodeError> {
    let Some((_, trailer)) = tail.split_last_chunk::<TRAILER>() else {
        return Err(EncodeError::Footer { reason: "it is shorter than any" });
    };
    let [a, b, c, d, magic @ ..] = *trailer;
    if magic != *MAGIC {
        return Err(EncodeError::Footer { reason: "it does not end as one does" });
    }
    Ok(u64::from(u32::from_le_bytes([a, b, c, d])) + TRAILER as u64)
}

/// Reads the footer of a file of `file_size` bytes from its last bytes, at least [`length`] of them.
pub fn read(tail: &[u8], file_size: u64) -> Result<Footer, EncodeError> {
    let length = length(tail)?;
    // Four bytes of magic come first.
    if length + MAGIC.len() as u64 > file_size {
        return Err(EncodeError::Footer { reason: "its footer is longer than itself" });
    }
    let footer = usize::try_from(length)
        .ok()
        .and_then(|length| tail.len().checked_sub(length))
        .map(|start| &tail[start..tail.len() - TRAILER])
        .ok_or(EncodeError::Footer { reason: "too few of its last bytes were read" })?;
    let broken = |_| EncodeError::Footer { reason: "its footer cannot be decoded" };
    let metadata = ParquetMetaDataReader::decode_metadata(footer).map_err(broken)?;
    let file = metadata.file_metadata();
    let pairs = file.key_value_metadata();
    let schema = parquet_to_arrow_schema(file.schema_descr(), pairs).map_err(broken)?;
    let rows = u64::try_from(file.num_rows())
        .map_err(|_| EncodeError::Footer { reason: "it has a negative count of rows" })?;
    let in_groups: i64 = metadata.row_groups().iter().map(|group| group.num_rows()).sum();
    if in_groups != file.num_rows() {
        return Err(EncodeError::Footer { reason: "its row groups have another number of rows than it says" });
    }
    // Nothing may lie beyond the footer's start.
    let data = file_size - length;
    let inside = metadata.row_groups().iter().flat_map(|group| group.columns()).all(|column| {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let end = start.checked_add(column.compressed_size()).and_then(|end| u64::try_from(end).ok());
        start >= MAGIC.len() as i64 && column.compressed_size() >= 0 && end.is_some_and(|end| end <= data)
    });
    if !inside {
        return Err(EncodeError::Footer { reason: "its columns reach beyond its end" });
    }
    Ok(Footer {
        rows,
        row_groups: metadata.num_row_groups(),
        schema: Arc::new(Schema::new(schema.fields().clone())),
        metadata: pairs
            .into_iter()
            .flatten()
            .filter(|pair| pair.key != parquet::arrow::ARROW_SCHEMA_META_KEY)
            .map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default()))
            .collect(),
        created_by: file.created_by().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::record_batch::RecordBatch;

    use super::super::Encoder;
    use super::super::parquet::{ParquetEncoder, ParquetOptions};
    use super::*;

    fn file() -> Vec<u8> {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
        let mut encoder = Box::new(ParquetEncoder::new(batch.schema(), ParquetOptions::default()).unwrap());
        encoder.write(&batch).unwrap();
        encoder.finish().unwrap().bytes.concat()
    }

    #[test]
    fn the_last_bytes_suffice_and_fewer_do_not() {
        let file = file();
        let size = file.len() as u64;
        let need = length(&file).unwrap() as usize;
        assert_eq!(read(&file[file.len() - need..], size).unwrap().rows, 1000);
        assert!(read(&file[file.len() - need + 1..], size).is_err());
        assert!(read(&file[file.len() - 7..], size).is_err());
    }

    #[test]
    fn a_damaged_end_is_an_error_and_never_a_panic() {
        let file = file();
        for cut in 1..file.len().min(600) {
            let short = &file[..file.len() - cut];
            assert!(read(short, short.len() as u64).is_err(), "cut by {cut}");
        }
        for place in 0..file.len() {
            let mut damaged = file.clone();
            damaged[place] ^= 0x55;
            let _ = read(&damaged, damaged.len() as u64);
        }
        // The size of another object: its columns would reach beyond its end.
        let need = length(&file).unwrap();
        assert!(read(&file[file.len() - need as usize..], need + 8).is_err());
    }
}
