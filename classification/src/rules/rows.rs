//! The rows of the five tables. Field names are the tables' column names; what is missing has the table's default.

use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::table::TableName;

/// Declares an enum whose variants are words in the tables.
macro_rules! words {
    ($(#[$doc:meta])+ $name:ident, $what:literal { $($(#[$vdoc:meta])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])+ #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stands for it in the tables.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("'{text}' is not {}: write {}", $what, [$($word),+].join(", "))),
                }
            }
        }
    };
}

words! {
    /// How a time column holds time.
    TimeUnit, "a time unit" {
        /// A timestamp, with or without zone.
        Timestamp = "timestamp",
        /// A calendar date.
        Date = "date",
        /// Whole seconds since 1970-01-01T00:00:00Z.
        EpochS = "epoch_s",
        /// Whole milliseconds since 1970-01-01T00:00:00Z.
        EpochMs = "epoch_ms",
    }
}

words! {
    /// What becomes of a denied cell of an `mx` column.
    DeniedCell, "a way to deny a cell" {
        /// Its row does not leave.
        DropRow = "drop_row",
        /// The row leaves with NULL in the cell's place.
        NullCell = "null_cell",
    }
}

words! {
    /// The format of a table's files.
    FileFormat, "a file format" {
        /// Apache Parquet.
        Parquet = "parquet",
        /// Comma-separated values.
        Csv = "csv",
        /// One JSON object a line.
        Jsonl = "jsonl",
    }
}

words! {
    /// How a table's files are compressed.
    FileCompression, "a compression" {
        /// zstd.
        Zstd = "zstd",
        /// snappy, which Parquet alone has.
        Snappy = "snappy",
        /// gzip.
        Gzip = "gzip",
        /// None.
        None = "none",
    }
}

impl FileCompression {
    /// Whether files of this format can have it.
    pub fn fits(self, format: FileFormat) -> bool {
        self != Self::Snappy || format == FileFormat::Parquet
    }
}

words! {
    /// How types are written that not every reader has.
    TypeProfile, "a type profile" {
        /// As types that every reader has.
        Portable = "portable",
        /// As the types that Parquet has for them.
        Native = "native",
    }
}

words! {
    /// When the schedule exports a table that has no time column.
    WholeExport, "a way to export a whole table" {
        /// Every day.
        Always = "always",
        /// On days on which it has changed; the others refer to the last one.
        WhenChanged = "when_changed",
    }
}

words! {
    /// Whose rows the schedule takes of a table with a tenant column.
    ScheduledTenants, "a choice of tenants" {
        /// Those of the tenant `default`.
        Default = "default",
        /// Everybody's.
        All = "all",
    }
}

words! {
    /// What a restriction is on.
    RestrictionKind, "a kind of restriction" {
        /// A column of the table.
        Column = "column",
        /// A metric of the long table.
        Metric = "metric",
        /// A source of the table's rows.
        Source = "source",
    }
}

words! {
    /// What a restriction does to a value.
    ActionKind, "an action" {
        /// The column, or the row of a metric or source, does not leave.
        Drop = "drop",
        /// NULL takes the value's place.
        Null = "null",
        /// A fixed word takes its place.
        Redact = "redact",
        /// Everything but the last four characters is masked.
        MaskLast4 = "mask_last4",
        /// A keyed pseudonym takes its place.
        Pseudonym = "pseudonym",
        /// It is made coarser.
        Generalise = "generalise",
        /// It is cut short.
        Truncate = "truncate",
    }
}

/// A row of `export_tables`: a table that may be exported, and what its columns mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportTable {
    /// The table.
    pub table_name: TableName,
    /// Whether it is exported at all. Default true: its columns are denied until they are classified.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether it is offered on demand. Default true.
    #[serde(default = "yes")]
    pub on_demand: bool,
    /// Whether the schedule exports it. Default true.
    #[serde(default = "yes")]
    pub scheduled: bool,
    /// The column that says when a row happened; without one the table is exported whole, by the schedule only.
    #[serde(default)]
    pub time_column: Option<String>,
    /// How that column holds time. Default `timestamp`.
    #[serde(default = "timestamp")]
    pub time_unit: TimeUnit,
    /// The IANA zone of times without one. Default `UTC`.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// The column that names a row's source.
    #[serde(default)]
    pub source_column: Option<String>,
    /// A long table's column that names the metric.
    #[serde(default)]
    pub metric_column: Option<String>,
    /// A long table's column that holds the metric's value.
    #[serde(default)]
    pub value_column: Option<String>,
    /// The column that names the tenant to whom a row belongs; a table without one is for the tenant `default` alone.
    #[serde(default)]
    pub tenant_column: Option<String>,
    /// What becomes of a denied cell of an `mx` column. Default `drop_row`.
    #[serde(default = "drop_row")]
    pub denied_cell: DeniedCell,
    /// Whether an unclassified column makes the table fail instead of being left out. Default false.
    #[serde(default)]
    pub strict: bool,
    /// The format of its files; `None`: the service's default.
    #[serde(default)]
    pub format: Option<FileFormat>,
    /// The type profile of its files; `None`: the service's default.
    #[serde(default)]
    pub type_profile: Option<TypeProfile>,
    /// How its files are compressed, where they have its own format; `None`: as the format usually is.
    #[serde(default)]
    pub compression: Option<FileCompression>,
    /// When the schedule exports it, if it has no time column; `None`: every day.
    #[serde(default)]
    pub whole_export: Option<WholeExport>,
    /// Whose rows the schedule takes, if it has a tenant column; `None`: nobody has decided, and it is not exported.
    #[serde(default)]
    pub scheduled_tenants: Option<ScheduledTenants>,
}

impl ExportTable {
    /// The row that names this table and leaves everything else at its default.
    pub fn new(table_name: TableName) -> Self {
        Self {
            table_name,
            enabled: yes(),
            on_demand: yes(),
            scheduled: yes(),
            time_column: None,
            time_unit: timestamp(),
            time_zone: utc(),
            source_column: None,
            metric_column: None,
            value_column: None,
            tenant_column: None,
            denied_cell: drop_row(),
            strict: false,
            format: None,
            type_profile: None,
            compression: None,
            whole_export: None,
            scheduled_tenants: None,
        }
    }
}

/// A row of `data_column_classification`: what a column is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnRule {
    /// The table.
    pub table_name: TableName,
    /// The column's exact name.
    pub column_name: String,
    /// Its code. Default `de`.
    #[serde(default = "denied")]
    pub classification: Code,
    /// Who attests that the column holds no personal data.
    #[serde(default)]
    pub pii_exempt_by: Option<String>,
    /// Why.
    #[serde(default)]
    pub pii_exempt_reason: Option<String>,
    /// The last day on which the attestation counts.
    #[serde(default)]
    pub pii_exempt_until: Option<NaiveDate>,
}

/// An attestation that a column holds no personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exemption<'a> {
    /// Who attests it.
    pub by: &'a str,
    /// Why.
    pub reason: &'a str,
    /// The last day on which it counts.
    pub until: NaiveDate,
}

impl ColumnRule {
    /// The attestation, if there is one, whether it has ended or not.
    pub fn exemption(&self) -> Option<Exemption<'_>> {
        Some(Exemption {
            by: self.pii_exempt_by.as_deref()?,
            reason: self.pii_exempt_reason.as_deref()?,
            until: self.pii_exempt_until?,
        })
    }
}

/// A row of `actual_data_classifications`: what a source's rows are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceRule {
    /// The source's exact name, as the source columns hold it.
    pub source: String,
    /// Its code. Default `de`.
    #[serde(default = "denied")]
    pub classification: Code,
}

/// A row of `long_table_data_classifications`: what a metric of a long table is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricRule {
    /// The long table.
    pub table_name: TableName,
    /// The metric's exact name, as the metric column holds it.
    pub metric_name: String,
    /// Its code. Default `de`.
    #[serde(default = "denied")]
    pub classification: Code,
}

/// A row of `column_restrictions`: what `hwc` does to a column, a metric or a source of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restriction {
    /// The table.
    pub table_name: TableName,
    /// What `name` is the name of. Default `column`.
    #[serde(default = "column")]
    pub kind: RestrictionKind,
    /// The column, metric or source.
    pub name: String,
    /// What is done. Default `drop`.
    #[serde(default = "drop_it")]
    pub action: ActionKind,
    /// The action's parameters: a JSON object. Default empty.
    #[serde(default = "no_params")]
    pub params: serde_json::Value,
    /// Who answers for it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Why this action is enough.
    #[serde(default)]
    pub reason: Option<String>,
    /// The last day on which it counts; afterwards what it restricts is denied. `None`: it does not end.
    #[serde(default)]
    pub expires_at: Option<NaiveDate>,
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn timestamp() -> TimeUnit {
    TimeUnit::Timestamp
}

pub(super) fn utc() -> String {
    "UTC".to_owned()
}

pub(super) fn drop_row() -> DeniedCell {
    DeniedCell::DropRow
}

pub(super) fn denied() -> Code {
    Code::De
}

pub(super) fn column() -> RestrictionKind {
    RestrictionKind::Column
}

pub(super) fn drop_it() -> ActionKind {
    ActionKind::Drop
}

pub(super) fn no_params() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}
