//! In which form files are asked for, and in which they are written.

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

/// What a request says of its files. What it leaves open, each table decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileChoice {
    /// The format.
    pub format: Option<ExportFormat>,
    /// The compression; said only together with a format.
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
    /// The form of a table's files, `own` being the table's own format.
    ///
    /// # Errors
    /// `BAD_REQUEST` for a compression without a format, or one that the format does not have.
    pub fn form(self, own: Option<ExportFormat>) -> Result<FileForm, Failure> {
        if self.format.is_none() && self.compression.is_some() {
            return Err(Failure::new(
                ErrorCode::BadRequest,
                "a compression was given without a format; give both, or neither to have each table's own",
            ));
        }
        let format = self.format.or(own).unwrap_or(ExportFormat::Parquet);
        let usual = if format == ExportFormat::Parquet { Compression::Zstd } else { Compression::None };
        let compression = self.compression.unwrap_or(usual);
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
        for (format, compression, own, expected) in [
            (None, None, None, Some("parquet zstd parquet")),
            (None, None, Some(F::Csv), Some("csv none csv")),
            (Some(F::Parquet), None, Some(F::Csv), Some("parquet zstd parquet")),
            (Some(F::Parquet), Some(C::Snappy), None, Some("parquet snappy parquet")),
            (Some(F::Jsonl), Some(C::Zstd), None, Some("jsonl zstd jsonl.zst")),
            (Some(F::Csv), Some(C::Gzip), None, Some("csv gzip csv.gz")),
            (Some(F::Csv), Some(C::Snappy), None, None),
            (None, Some(C::Gzip), None, None),
        ] {
            let form = FileChoice { format, compression }.form(own);
            let found = form
                .ok()
                .map(|form| format!("{} {} {}", form.format.as_str(), form.compression.as_str(), form.extension()));
            assert_eq!(found.as_deref(), expected, "{format:?} {compression:?} {own:?}");
        }
    }
}
