//! Where the data is. A warehouse is asked for its catalog and for scans; it yields Arrow record batches, so the
//! stages behind it do not know where they come from.
//!
//! Nothing here decides what may leave: a [`ScanSpec`] is made from a compiled policy and names every column and
//! every row condition. There is no way to ask for "all columns".

pub mod geo;
mod options;
mod pace;
pub mod postgres;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use classification::rules::TypeProfile;
use classification::{CatalogColumn, ColumnKind, PolicyColumn, Predicate, TableName};
use serde::{Deserialize, Serialize};

use crate::error::{ErrorCode, Failure};

pub use self::options::{ColumnOptions, FidelityCount, GeometryForm, LONGEST_TEXT, OnTooLong, OnUnrepresentable};
pub use self::pace::{HeldBack, ReadLimits};

/// A table as the catalog has it now.
#[derive(Debug, Clone)]
pub struct TableShape {
    /// Its name.
    pub table: TableName,
    /// Its columns, in order.
    pub columns: Vec<ShapeColumn>,
}

/// A column of the catalog, and whether it can be exported.
#[derive(Debug, Clone)]
pub struct ShapeColumn {
    /// Name, type and kind, as a policy sees them.
    pub catalog: CatalogColumn,
    /// The type for a manifest in the words of Redshift's `COPY … MANIFEST`, such as `bigint`; `None` for a type
    /// that cannot be exported.
    pub manifest_type: Option<String>,
    /// The same for files of the `native` profile.
    pub native_manifest_type: Option<String>,
}

impl ShapeColumn {
    /// The type for a manifest of a column that is written under this profile with these options.
    pub fn manifest_type_under(&self, profile: TypeProfile, options: &ColumnOptions) -> Option<String> {
        if options.on_unrepresentable == OnUnrepresentable::Text {
            return Some("character varying".to_owned());
        }
        let own = match profile {
            TypeProfile::Portable => self.manifest_type.clone(),
            TypeProfile::Native => self.native_manifest_type.clone(),
        }?;
        Some(match (options.geometry, options.decimals) {
            (Some(GeometryForm::Wkb), _) => "binary varying".to_owned(),
            (Some(GeometryForm::Text | GeometryForm::Polyline), _) => "character varying".to_owned(),
            (None, Some(decimals)) if self.catalog.kind == ColumnKind::Number && own == "character varying" => {
                format!("numeric(38,{decimals})")
            }
            _ => own,
        })
    }
}

/// How a column holds time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// A timestamp, with or without zone.
    Timestamp,
    /// A calendar date.
    Date,
    /// Whole seconds since 1970-01-01T00:00:00Z.
    EpochS,
    /// Whole milliseconds since 1970-01-01T00:00:00Z.
    EpochMs,
}

impl From<classification::rules::TimeUnit> for TimeUnit {
    fn from(unit: classification::rules::TimeUnit) -> Self {
        use classification::rules::TimeUnit as Rule;
        match unit {
            Rule::Timestamp => Self::Timestamp,
            Rule::Date => Self::Date,
            Rule::EpochS => Self::EpochS,
            Rule::EpochMs => Self::EpochMs,
        }
    }
}

/// The rows of a half-open time range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeSlice {
    /// The time column.
    pub column: String,
    /// How it holds time.
    pub unit: TimeUnit,
    /// The IANA zone of values without one, `UTC` by default.
    pub zone: String,
    /// First instant inside.
    pub start: DateTime<Utc>,
    /// First instant outside.
    pub end: DateTime<Utc>,
}

/// A half-open range of time: its first instant, and the first after it.
pub type TimeRange = (DateTime<Utc>, DateTime<Utc>);

/// What is read beside the columns, to decide in the process what the query has decided. It is never exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// A column as the text that predicates compare: `Utf8`.
    Text(String),
    /// The day of the row's time in the slice's zone: `Date32`.
    Day,
}

impl Guard {
    /// Its field in every batch. The name holds a NUL, which no column's name can.
    pub fn field(&self) -> Field {
        match self {
            Self::Text(column) => Field::new(format!("\0text of {column}"), DataType::Utf8, true),
            Self::Day => Field::new("\0day", DataType::Date32, true),
        }
    }
}

/// One scan: named columns of one table, for the rows of a time slice that meet a predicate. Batches have the
/// columns, then the guards, both in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanSpec {
    /// The table.
    pub table: TableName,
    /// The columns, with the types they had when the scan was planned.
    pub columns: Vec<PolicyColumn>,
    /// The rows that the policy lets through.
    pub rows: Predicate,
    /// The time range; `None` for a table that is exported whole.
    pub slice: Option<TimeSlice>,
    /// What is read beside the columns.
    #[serde(default)]
    pub guards: Vec<Guard>,
    /// How types are written that not every reader has.
    #[serde(default = "portable")]
    pub type_profile: TypeProfile,
    /// What is said of single columns; those of which nothing is said are not here.
    #[serde(default)]
    pub options: BTreeMap<String, ColumnOptions>,
}

fn portable() -> TypeProfile {
    TypeProfile::Portable
}

/// What the warehouse expects of a scan, from its statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Rows.
    pub rows: f64,
    /// Bytes a row as the warehouse sends it.
    pub row_bytes: f64,
    /// What it takes the warehouse, in a unit of its own: only costs of one warehouse can be compared.
    pub cost: f64,
    /// The relations that are read from end to end, except small ones: two slices that name the same one would each
    /// read all of it.
    pub read_whole: BTreeSet<String>,
}

/// What a scan is run under.
#[derive(Debug, Clone)]
pub struct ScanContext {
    /// Shown in the warehouse's list of sessions: holds the job's id.
    pub application_name: String,
    /// How long the first row may take.
    pub first_row_timeout: Duration,
    /// Told while the scan waits for a limit of ours.
    pub held_back: HeldBack,
    /// What a held snapshot is named by, if one is to be read; where it cannot be, the scan reads without.
    pub snapshot: Option<String>,
}

/// Why the warehouse did not do it. Messages never hold cell values.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// No such table, or none that the role may see.
    #[error(
        "table '{table}' does not exist in the warehouse, or the role may not see it; correct export_tables or grant SELECT"
    )]
    TableNotFound {
        /// The table.
        table: TableName,
    },
    /// A column of the plan has changed or gone.
    #[error(
        "column '{column}' of '{table}' was planned as {planned} and is now {found}; the next request is planned anew"
    )]
    SchemaChanged {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// Its type when planned.
        planned: String,
        /// Its type now, or `missing`.
        found: String,
    },
    /// A column's type cannot be exported.
    #[error(
        "column '{column}' of '{table}' has type {sql_type}, which cannot be exported; classify the column 'de' to leave it out"
    )]
    TypeUnsupported {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// The type.
        sql_type: String,
    },
    /// An option of a column that its type does not take.
    #[error(
        "column '{column}' of '{table}' has type {sql_type}, which {reason}; correct its row in column_export_options"
    )]
    OptionUnfit {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// Its type.
        sql_type: String,
        /// What does not go together.
        reason: &'static str,
    },
    /// A value that the file's type cannot hold.
    #[error("a value in column '{column}' of '{table}' cannot be represented: {reason}")]
    ValueUnrepresentable {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// What does not fit, without the value.
        reason: String,
    },
    /// Away, or the connection ended.
    #[error(
        "the warehouse cannot be reached or ended the connection ({detail}); check EXPORTER_WAREHOUSE_URL and the server"
    )]
    Unavailable {
        /// The kind of fault or the server's SQLSTATE.
        detail: String,
    },
    /// Credentials or permission.
    #[error(
        "the warehouse refused ({detail}); check the credentials in EXPORTER_WAREHOUSE_URL and the role's SELECT rights"
    )]
    Denied {
        /// The server's SQLSTATE and what it concerns.
        detail: String,
    },
    /// No answer in time.
    #[error("the warehouse did not answer within {seconds} s while {doing}; raise the time-out or look at its load")]
    Timeout {
        /// The limit.
        seconds: u64,
        /// What was asked.
        doing: String,
    },
    /// A standby that has not replayed what the scan is to read, or is too far behind.
    #[error("the warehouse is a standby that must not be read yet: {reason}")]
    Behind {
        /// What it lacks.
        reason: String,
    },
    /// A standby ended a statement because replay needed what it was reading.
    #[error(
        "the standby ended the statement while {doing}, because replay needed what it was reading; raise \
         max_standby_streaming_delay or set hot_standby_feedback on it"
    )]
    Conflict {
        /// What was being done.
        doing: String,
    },
    /// The stream could not be understood.
    #[error("the warehouse sent something that cannot be understood: {detail}")]
    Protocol {
        /// What was wrong, without content.
        detail: String,
    },
}

impl WarehouseError {
    /// The stable code for the outside.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TableNotFound { .. } => ErrorCode::TableNotFound,
            Self::SchemaChanged { .. } => ErrorCode::SchemaChanged,
            Self::TypeUnsupported { .. } => ErrorCode::TypeUnsupported,
            Self::OptionUnfit { .. } => ErrorCode::RulesInvalid,
            Self::ValueUnrepresentable { .. } => ErrorCode::ValueUnrepresentable,
            Self::Unavailable { .. } => ErrorCode::WarehouseUnavailable,
            Self::Denied { .. } => ErrorCode::WarehouseDenied,
            Self::Timeout { .. } => ErrorCode::WarehouseTimeout,
            Self::Behind { .. } => ErrorCode::ReplicaBehind,
            Self::Conflict { .. } => ErrorCode::RecoveryConflict,
            Self::Protocol { .. } => ErrorCode::WarehouseProtocol,
        }
    }
}

impl From<WarehouseError> for Failure {
    fn from(error: WarehouseError) -> Self {
        Failure::new(error.code(), error.to_string())
    }
}

/// Record batches, one after the other, all of one schema.
#[async_trait]
pub trait BatchStream: Send {
    /// The schema of every batch.
    fn schema(&self) -> SchemaRef;

    /// The next batch, never empty; `None` at the end. Dropped before its end, the server's query is ended too.
    async fn next(&mut self) -> Result<Option<RecordBatch>, WarehouseError>;

    /// Whether everything in it is of the moment that its context named.
    fn is_of_snapshot(&self) -> bool {
        false
    }

    /// What was changed in the batches so far; complete once [`Self::next`] has said that there are no more.
    fn fidelity(&self) -> Vec<FidelityCount> {
        Vec::new()
    }
}

/// How far a warehouse is behind another that it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// It follows none.
    None,
    /// So far at most.
    Behind(Duration),
    /// It follows one and cannot tell.
    Unknown,
}

/// How connections to a warehouse are kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// They do not leave this machine.
    Local,
    /// They do not.
    Plain,
    /// They are encrypted, for whoever answers.
    Encrypted,
    /// They are encrypted, and the server has shown a certificate of an authority that is trusted.
    Verified,
}

/// A moment of the warehouse that is held so that several scans can read it. Dropped, it ends too.
#[async_trait]
pub trait HeldSnapshot: Send {
    /// What scans name it by.
    fn token(&self) -> &str;

    /// Whether it can still be read.
    async fn is_held(&mut self) -> bool;

    /// Ends it.
    async fn release(self: Box<Self>);
}

/// How a warehouse and the role that asks it are set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Its kind and version.
    pub version: String,
    /// How far it is behind the server that it follows.
    pub lag: Lag,
    /// How its connections are kept from others.
    pub transport: Transport,
    /// Whether the role may do everything.
    pub superuser: bool,
    /// Tables that the role may write to.
    pub writable_tables: i64,
}

/// A source of tables.
#[async_trait]
pub trait Warehouse: Send + Sync + fmt::Debug {
    /// Whether it answers and these credentials reach it.
    async fn check(&self) -> Result<(), WarehouseError>;

    /// How it is set up, for a diagnosis; `None` where that cannot be asked.
    async fn health(&self) -> Result<Option<Health>, WarehouseError> {
        Ok(None)
    }

    /// Whether what was committed before `until` can be read now. A warehouse that follows another may not have it yet.
    ///
    /// # Errors
    /// [`WarehouseError::Behind`] says what is waited for.
    async fn ready(&self, _until: DateTime<Utc>) -> Result<(), WarehouseError> {
        Ok(())
    }

    /// The tables of these names as they are now; those that do not exist are not in the answer.
    async fn catalog(&self, tables: &[TableName]) -> Result<Vec<TableShape>, WarehouseError>;

    /// What a scan would yield, from statistics alone.
    async fn estimate(&self, scan: &ScanSpec) -> Result<Estimate, WarehouseError>;

    /// The same for each of these ranges of its time, in their order; one question to the warehouse for each. A scan
    /// without a slice has no ranges, and is estimated as it is.
    async fn estimate_ranges(&self, scan: &ScanSpec, ranges: &[TimeRange]) -> Result<Vec<Estimate>, WarehouseError>;

    /// The instants within a scan's slice at which the warehouse itself has cut the table by its time column, in
    /// order. A slice that ends at one reads nothing of what is behind it.
    async fn seams(&self, scan: &ScanSpec) -> Result<Vec<DateTime<Utc>>, WarehouseError>;

    /// How many rows of a table meet each of these conditions: those of a time slice, or of the whole table. All are
    /// counted in one statement, and so of one moment.
    async fn count(
        &self,
        table: &TableName,
        slice: Option<&TimeSlice>,
        conditions: &[Predicate],
    ) -> Result<Vec<i64>, WarehouseError>;

    /// How many rows that meet a condition belong to no time slice, however long: their time is NULL, infinite or not
    /// a number. Of the slice only the column and its unit count.
    async fn count_timeless(
        &self,
        table: &TableName,
        slice: &TimeSlice,
        condition: &Predicate,
    ) -> Result<i64, WarehouseError>;

    /// Holds the moment that it is, over a connection of its own, so that scans can read it; `None` where a warehouse
    /// cannot. Fails when the server that it meets is not [ready](Self::ready) for `until`.
    async fn hold_snapshot(
        &self,
        application_name: &str,
        until: DateTime<Utc>,
    ) -> Result<Option<Box<dyn HeldSnapshot>>, WarehouseError>;

    /// Starts a scan. Fails before a byte moves when a column is not what was planned or cannot be exported, or when the
    /// server that it meets is not [ready](Self::ready) for the end of its slice.
    async fn scan(&self, scan: &ScanSpec, context: &ScanContext) -> Result<Box<dyn BatchStream>, WarehouseError>;
}
