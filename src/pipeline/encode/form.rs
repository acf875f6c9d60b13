//! The encoder of a file's form.

use arrow::datatypes::SchemaRef;
use classification::{ColumnKind, PolicyColumn};

use super::parquet::{ParquetCompression, ParquetEncoder, ParquetOptions};
use super::text::{TextCompression, TextEncoder, TextFormat};
use super::{EncodeError, Encoder};
use crate::jobs::{Compression, ExportFormat, FileForm};

/// An encoder of batches of this schema, whose columns are those of a policy in their order.
///
/// `metadata` goes into the footer where the format has one.
///
/// # Errors
/// When the format has no form for a column's type.
pub fn encoder(
    form: FileForm,
    schema: &SchemaRef,
    columns: &[PolicyColumn],
    metadata: Vec<(String, String)>,
) -> Result<Box<dyn Encoder>, EncodeError> {
    let text = match form.compression {
        Compression::Zstd => TextCompression::Zstd,
        Compression::Gzip => TextCompression::Gzip,
        Compression::None | Compression::Snappy => TextCompression::None,
    };
    Ok(match form.format {
        ExportFormat::Parquet => {
            let compression = match form.compression {
                Compression::Zstd => ParquetCompression::Zstd,
                Compression::Snappy => ParquetCompression::Snappy,
                Compression::Gzip => ParquetCompression::Gzip,
                Compression::None => ParquetCompression::None,
            };
            let options = ParquetOptions { compression, metadata, ..ParquetOptions::default() };
            Box::new(ParquetEncoder::new(schema.clone(), options)?)
        }
        ExportFormat::Csv => {
            // Numbers that no decimal holds travel as text; their signs are no formulas.
            let guarded =
                columns.iter().map(|column| form.formula_guard && column.kind != ColumnKind::Number).collect();
            Box::new(TextEncoder::new(schema, &TextFormat::Csv { guarded }, text)?)
        }
        ExportFormat::Jsonl => Box::new(TextEncoder::new(schema, &TextFormat::Jsonl, text)?),
    })
}
