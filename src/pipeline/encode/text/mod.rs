//! Formats of lines: CSV and JSONL. Values are written straight from Arrow's buffers, nothing is looked up by name, and
//! a line is compressed and handed out as it is made.

mod codec;
mod csv;
mod instant;
mod jsonl;
mod value;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use self::codec::Codec;
pub use self::codec::TextCompression;
use self::csv::Csv;
use self::jsonl::Jsonl;
use super::{EncodeError, EncodedTail, Encoder};

/// Lines are collected up to here before they are compressed.
const BLOCK: usize = 64 << 10;

/// What the lines of a file look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextFormat {
    /// RFC 4180 with a header: NULL is an empty field, an empty text is `""`.
    Csv {
        /// For each column, whether its values are kept from being taken for formulas by a spreadsheet: a leading
        /// `=`, `+`, `-`, `@`, tab or carriage return gets a `'` before it, also where it has some already.
        guarded: Vec<bool>,
    },
    /// One JSON object a line, with every column.
    Jsonl,
}

/// Turns rows into lines.
trait Lines: Send {
    /// Before the first row.
    fn head(&self, out: &mut Vec<u8>);

    /// One row, with the end of its line.
    fn row(&mut self, batch: &RecordBatch, row: usize, out: &mut Vec<u8>);
}

/// Writes one file of lines.
pub struct TextEncoder {
    lines: Box<dyn Lines>,
    codec: Codec,
    block: Vec<u8>,
    rows: u64,
}

impl std::fmt::Debug for TextEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextEncoder").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl TextEncoder {
    /// An encoder of batches of this schema.
    ///
    /// # Errors
    /// When a column has a type that has no text form.
    pub fn new(schema: &SchemaRef, format: &TextFormat, compression: TextCompression) -> Result<Self, EncodeError> {
        if let Some(field) = schema.fields().iter().find(|field| !value::has_text(field.data_type())) {
            return Err(EncodeError::Type { column: field.name().clone(), data_type: field.data_type().to_string() });
        }
        let lines: Box<dyn Lines> = match format {
            TextFormat::Csv { guarded } => Box::new(Csv::new(schema, guarded)),
            TextFormat::Jsonl => Box::new(Jsonl::new(schema)),
        };
        let mut block = Vec::with_capacity(BLOCK + BLOCK / 4);
        lines.head(&mut block);
        Ok(Self { lines, codec: Codec::new(compression)?, block, rows: 0 })
    }
}

impl Encoder for TextEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), EncodeError> {
        for row in 0..batch.num_rows() {
            self.lines.row(batch, row, &mut self.block);
            if self.block.len() >= BLOCK {
                self.codec.write(&self.block)?;
                self.block.clear();
                // One very long line must not be paid for until the end.
                self.block.shrink_to(BLOCK + BLOCK / 4);
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn drain(&mut self) -> Vec<Bytes> {
        self.codec.take()
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn memory(&self) -> usize {
        self.block.capacity() + self.codec.held()
    }

    fn finish(mut self: Box<Self>) -> Result<EncodedTail, EncodeError> {
        self.codec.write(&self.block)?;
        let (bytes, size) = self.codec.finish()?;
        Ok(EncodedTail { bytes, rows: self.rows, size })
    }
}

#[cfg(test)]
mod tests;
