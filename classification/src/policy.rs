//! What the rules say of one table, compiled: the columns to read, the rows to read, and why.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::actions::Action;
use crate::table::TableName;

/// What kind of values a column holds, as far as a policy must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Integers, decimals and floats.
    Number,
    /// Free text: may hold personal data, whatever its name says.
    Text,
    /// JSON documents: like text, in leaves and keys.
    Json,
    /// Dates, times and timestamps.
    Time,
    /// True or false.
    Boolean,
    /// UUIDs.
    Uuid,
    /// Bytes.
    Binary,
    /// Labels of an enumerated type, fixed in the catalog.
    Enum,
    /// Anything else.
    Other,
}

/// A column as the warehouse's catalog has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogColumn {
    /// Its exact name.
    pub name: String,
    /// Its type as the warehouse writes it, such as `numeric(10,2)`.
    pub sql_type: String,
    /// What a policy must know of that type.
    pub kind: ColumnKind,
}

/// A condition on a row. Allow-lists only: there is no negation, so a value nobody has heard of is never admitted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predicate {
    /// Every row.
    Always,
    /// No row.
    Never,
    /// Rows whose column, as text compared byte by byte, is one of these values; NULL is none of them.
    In {
        /// The column's name.
        column: String,
        /// The values that are let through.
        values: BTreeSet<String>,
    },
    /// Rows that meet all of these.
    All(Vec<Predicate>),
    /// Rows that meet at least one of these.
    Any(Vec<Predicate>),
}

/// One column that leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyColumn {
    /// Its name in the warehouse and in the file.
    pub name: String,
    /// Its type as the catalog had it when the policy was compiled.
    pub sql_type: String,
    /// What kind of values it holds.
    pub kind: ColumnKind,
    /// The rows in which its value is kept; in the others it is NULL (`null_cell`).
    pub cell: Predicate,
    /// What is done to its values, in this order (for the column's, the metric's and the source's sake): each action
    /// for the rows that meet its condition. Never [`Action::Drop`].
    pub care: Vec<Care>,
    /// Whether its values are searched for personal data after that.
    pub scan: bool,
}

/// One action of `hwc` on a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Care {
    /// The rows that it concerns: all, those of a metric, those of a source. Asked of a row as the warehouse has it,
    /// before any action changed it.
    pub when: Predicate,
    /// What is done.
    pub action: Action,
}

/// A rule that holds rows back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRule {
    /// The rule in words.
    pub rule: String,
    /// The rows that it lets through.
    pub rows: Predicate,
}

/// What was decided of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It leaves as it is, except for personal data that is found in it where it is searched.
    Exported,
    /// It leaves changed, or for some rows: the others are dropped or nulled.
    Restricted,
    /// It does not leave.
    LeftOut,
}

/// A decision with its reason, kept in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The column.
    pub column: String,
    /// What was decided.
    pub outcome: Outcome,
    /// The rule that decided, such as `data_column_classification: de` or `no classification`.
    pub rule: String,
}

/// The compiled rules of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The table.
    pub table: TableName,
    /// The columns that leave, in the catalog's order.
    pub columns: Vec<PolicyColumn>,
    /// The rows that leave.
    pub rows: Predicate,
    /// What restricts the rows, rule by rule: `rows` is all of them together.
    pub row_rules: Vec<RowRule>,
    /// What should be looked at, though nothing forbids it: one sentence each.
    pub warnings: Vec<String>,
    /// The text of `pii.toml` under which columns are searched; empty where none is, and where the defaults hold.
    pub pii_rules: String,
    /// Why, for every column of the catalog and every classified column that the catalog lacks.
    pub decisions: Vec<Decision>,
    /// SHA-256, in hex, of everything above in a canonical form: equal policies have equal hashes.
    pub hash: String,
}
