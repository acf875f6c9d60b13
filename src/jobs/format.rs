//! In which form files are asked for, and in which they are written.

use classification::rules::{ExportTable, FileCompression, FileFormat};
use serde::{Deserialize, Serialize};

use super::model::stored_enum;
use crate::error::{ErrorCode, Failure};

stored_enum! {
    /// The file format of an export.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    ExportFormat {
        /// Apache Parquet.
        Parquet = "parquet",
        /// CSV with a header, RFC 4180.
        Csv = "csv",
        /// One JSON object a line.
        Jsonl = "jsonl",
    }
}

stored_enum! {
    /// How the files of an export are compressed: Parquet page by page, the others as a whole.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    Compression {
        /// zstd, what Parquet has when nothing is said.
        Zstd = "zstd",
        /// snappy, for Parquet alone.
        Snappy = "snappy",
        /// gzip.
        Gzip = "gzip",
        /// None, what CSV and JSONL have when nothing is said.
        None = "none",
    }
}

impl ExportFormat {
    /// The compression of its files when nothing is said.
    pub fn usual_compression(self) -> Compression {
        match self {
            Self::Parquet => Compression::Zstd,
            Self::Csv | Self::Jsonl => Compression::None,
        }
    }
}

/// What a request, or a table's own row, says of files. What a request leaves open, each table decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileChoice {
    /// The format.
    pub format: Option<ExportFormat>,
    /// The compression; a request says it only together with a format.
    pub compression: Option<Compression>,
}

/// How a table's files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileForm {
    /// The format.
    pub format: ExportFormat,
    /// The compression, one that the format has.
    pub compression: Compression,
    /// Whether texts of CSV that a spreadsheet would take for formulas get a `'` before them. Of no meaning for the
    /// other formats.
    #[serde(default = "guarded")]
    pub formula_guard: bool,
}

/// Files are guarded where nobody says otherwise.
fn guarded() -> bool {
    true
}

impl FileChoice {
    /// What a table's row says.
    pub fn of(row: &ExportTable) -> Self {
        let format = row.format.map(|format| match format {
            FileFormat::Parquet => ExportFormat::Parquet,
            FileFormat::Csv => ExportFormat::Csv,
            FileFormat::Jsonl => ExportFormat::Jsonl,
        });
        let compression = row.compression.map(|compression| match compression {
            FileCompression::Zstd => Compression::Zstd,
            FileCompression::Snappy => Compression::Snappy,
            FileCompression::Gzip => Compression::Gzip,
            FileCompression::None => Compression::None,
        });
        Self { format, compression }
    }

    /// The form of a table's files as this request wants them, `own` being what the table's row says. A table's
    /// compression counts where its files have its own format.
    ///
    /// # Errors
    /// `BAD_REQUEST` for a compression without a format, or one that the format does not have.
    pub fn form(self, own: Self) -> Result<FileForm, Failure> {
        if self.format.is_none() && self.compression.is_some() {
            return Err(Failure::new(
                ErrorCode::BadRequest,
                "a compression was given without a format; give both, or neither to have each table's own",
            ));
        }
        let own_format = own.format.unwrap_or(ExportFormat::Parquet);
        let format = self.format.unwrap_or(own_format);
        let own_compression = own.compression.filter(|_| format == own_format);
        let compression = self.compression.or(own_compression).unwrap_or(format.usual_compression());
        if compression == Compression::Snappy && format != ExportFormat::Parquet {
            return Err(Failure::new(
                ErrorCode::BadRequest,
                format!("{} files are not compressed with snappy; choose gzip, zstd or none", format.as_str()),
            ));
        }
        Ok(FileForm { format, compression, formula_guard: true })
    }
}

impl FileForm {
    /// What files are where nobody chose.
    pub const PARQUET: Self =
        Self { format: ExportFormat::Parquet, compression: Compression::Zstd, formula_guard: true };

    /// What a file's name ends with, after the dot: `parquet`, `csv.gz`, `jsonl.zst`.
    pub fn extension(self) -> &'static str {
        match (self.format, self.compression) {
            (ExportFormat::Parquet, _) => "parquet",
            (ExportFormat::Csv, Compression::Gzip) => "csv.gz",
            (ExportFormat::Csv, Compression::Zstd) => "csv.zst",
            (ExportFormat::Csv, _) => "csv",
            (ExportFormat::Jsonl, Compression::Gzip) => "jsonl.gz",
            (ExportFormat::Jsonl, Compression::Zstd) => "jsonl.zst",
            (ExportFormat::Jsonl, _) => "jsonl",
        }
    }

    /// The media type of a file.
    pub fn media_type(self) -> &'static str {
        match (self.format, self.compression) {
            (ExportFormat::Parquet, _) => "application/vnd.apache.parquet",
            (_, Compression::Gzip) => "application/gzip",
            (_, Compression::Zstd) => "application/zstd",
            (ExportFormat::Csv, _) => "text/csv; charset=utf-8; header=present",
            (ExportFormat::Jsonl, _) => "application/x-ndjson",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_the_table_decides() {
        use Compression as C;
        use ExportFormat as F;
        let nothing = (None, None);
        for (asked, own, expected) in [
            (nothing, nothing, Some("parquet zstd parquet")),
            (nothing, (Some(F::Csv), None), Some("csv none csv")),
            ((Some(F::Parquet), None), (Some(F::Csv), None), Some("parquet zstd parquet")),
            ((Some(F::Parquet), Some(C::Snappy)), nothing, Some("parquet snappy parquet")),
            ((Some(F::Jsonl), Some(C::Zstd)), nothing, Some("jsonl zstd jsonl.zst")),
            ((Some(F::Csv), Some(C::Gzip)), nothing, Some("csv gzip csv.gz")),
            ((Some(F::Csv), Some(C::Snappy)), nothing, None),
            ((None, Some(C::Gzip)), nothing, None),
            // The table's compression is that of its own format's files, and Parquet is the format of a table without one.
            (nothing, (None, Some(C::Snappy)), Some("parquet snappy parquet")),
            (nothing, (None, Some(C::None)), Some("parquet none parquet")),
            (nothing, (Some(F::Csv), Some(C::Gzip)), Some("csv gzip csv.gz")),
            (nothing, (Some(F::Jsonl), Some(C::Zstd)), Some("jsonl zstd jsonl.zst")),
            ((Some(F::Csv), None), (Some(F::Csv), Some(C::Gzip)), Some("csv gzip csv.gz")),
            ((Some(F::Parquet), None), (None, Some(C::Gzip)), Some("parquet gzip parquet")),
            ((Some(F::Jsonl), None), (Some(F::Csv), Some(C::Gzip)), Some("jsonl none jsonl")),
            ((Some(F::Csv), None), (Some(F::Parquet), Some(C::Snappy)), Some("csv none csv")),
            // What a request says counts.
            ((Some(F::Csv), Some(C::None)), (Some(F::Csv), Some(C::Gzip)), Some("csv none csv")),
            ((Some(F::Parquet), Some(C::Gzip)), (None, Some(C::Snappy)), Some("parquet gzip parquet")),
            ((None, Some(C::Gzip)), (Some(F::Csv), Some(C::Gzip)), None),
            (nothing, (Some(F::Csv), Some(C::Snappy)), None),
        ] {
            let choice = |(format, compression)| FileChoice { format, compression };
            let found = choice(asked)
                .form(choice(own))
                .ok()
                .map(|form| format!("{} {} {}", form.format.as_str(), form.compression.as_str(), form.extension()));
            assert_eq!(found.as_deref(), expected, "{asked:?} {own:?}");
        }
    }
}
