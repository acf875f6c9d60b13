//! The rules: the rows of five tables and the text of `pii.toml`, read from files or from a database, validated as one set.
//!
//! A [`RuleSet`] exists only when everything in it holds; whoever has one need not check again. Nothing here reads a
//! file or a database itself, and nothing is repaired: what is wrong is reported, all of it at once, and refused.

mod check;
mod diff;
mod error;
mod files;
mod json;
mod pii;
mod rows;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use diff::Change;
pub use error::{Place, RuleError, RuleErrors};
pub use files::RuleFile;
pub use rows::{
    ActionKind, ColumnRule, DeniedCell, Exemption, ExportTable, FileCompression, FileFormat, MetricRule, Restriction,
    RestrictionKind, ScheduledTenants, SourceRule, TimeUnit, TypeProfile, WholeExport,
};
pub use table::RuleTable;

use crate::code::Code;
use crate::pii::PiiRules;
use crate::table::TableName;

/// A row of `pii_rules`: the text of `pii.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PiiRow {
    /// The text.
    pub rules: String,
}

/// The rows of the tables as they come, not yet validated. Serialised with the tables' names as keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rows {
    /// Which tables are exported, and what their columns mean.
    pub export_tables: Vec<ExportTable>,
    /// What each column is.
    pub data_column_classification: Vec<ColumnRule>,
    /// What each source is.
    pub actual_data_classifications: Vec<SourceRule>,
    /// What each metric of a long table is.
    pub long_table_data_classifications: Vec<MetricRule>,
    /// What `hwc` does.
    pub column_restrictions: Vec<Restriction>,
    /// How personal data is searched for: one row at most; none stands for the defaults.
    pub pii_rules: Vec<PiiRow>,
}

/// All rules, validated. Equal sets compare equal however their rows were ordered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleSet {
    tables: BTreeMap<TableName, ExportTable>,
    columns: BTreeMap<(TableName, String), ColumnRule>,
    sources: BTreeMap<String, SourceRule>,
    metrics: BTreeMap<(TableName, String), MetricRule>,
    restrictions: BTreeMap<(TableName, RestrictionKind, String), Restriction>,
    pii: pii::PiiText,
}

impl RuleSet {
    /// Reads the five CSV files and `pii.toml`. Each must be there, if only with its header, and `pii.toml` if only
    /// empty, which stands for the defaults: everything known is searched for and redacted. Other files that end in
    /// `.csv` are refused.
    pub fn parse(files: &[RuleFile<'_>]) -> Result<Self, RuleErrors> {
        files::parse(files)
    }

    /// Validates rows as a database holds them.
    pub fn from_rows(rows: Rows) -> Result<Self, RuleErrors> {
        let mut errors = Vec::new();
        let placed = check::Placed::by_key(rows, &mut errors);
        check::build(placed, errors)
    }

    /// Reads `{"export_tables": [{…}, …], …}`, the tables as a database turns its rows into JSON. NULL counts
    /// as the column's default; columns that the contract does not know are ignored.
    pub fn from_json(document: &serde_json::Value) -> Result<Self, RuleErrors> {
        let (rows, mut errors) = json::read(document);
        let placed = check::Placed::by_key(rows, &mut errors);
        check::build(placed, errors)
    }

    /// The rows, in the order of their keys.
    pub fn rows(&self) -> Rows {
        Rows {
            export_tables: self.tables.values().cloned().collect(),
            data_column_classification: self.columns.values().cloned().collect(),
            actual_data_classifications: self.sources.values().cloned().collect(),
            long_table_data_classifications: self.metrics.values().cloned().collect(),
            column_restrictions: self.restrictions.values().cloned().collect(),
            pii_rules: Some(self.pii_text())
                .filter(|text| !text.is_empty())
                .map(|text| PiiRow { rules: text.to_owned() })
                .into_iter()
                .collect(),
        }
    }

    /// How personal data is searched for in values.
    pub fn pii(&self) -> &PiiRules {
        self.pii.rules()
    }

    /// The text of `pii.toml`; empty for the defaults.
    pub fn pii_text(&self) -> &str {
        self.pii.text()
    }

    /// One table as the text of its file, in the order of the keys; reading it again gives the same rows. For the PII
    /// rules it is their own text.
    pub fn to_csv(&self, table: RuleTable) -> String {
        files::write(self, table)
    }

    /// What changes when `new` takes this set's place, table by table, in the order of the keys.
    pub fn diff(&self, new: &RuleSet) -> Vec<Change> {
        diff::diff(self, new)
    }

    /// What holds, but is probably not meant: one sentence each.
    pub fn notes(&self) -> Vec<String> {
        check::notes(self)
    }

    /// The row of a table, enabled or not.
    pub fn table(&self, table: &TableName) -> Option<&ExportTable> {
        self.tables.get(table)
    }

    /// Every table's row, ordered by name.
    pub fn tables(&self) -> impl Iterator<Item = &ExportTable> {
        self.tables.values()
    }

    /// The rule of a column.
    pub fn column(&self, table: &TableName, column: &str) -> Option<&ColumnRule> {
        self.columns.get(&(table.clone(), column.to_owned()))
    }

    /// The rules of a table's columns, ordered by name.
    pub fn columns(&self, table: &TableName) -> impl Iterator<Item = &ColumnRule> {
        self.columns.range((table.clone(), String::new())..).map(|(_, rule)| rule).take_while({
            let table = table.clone();
            move |rule| rule.table_name == table
        })
    }

    /// The code of a source; `None` for one that nobody has classified.
    pub fn source(&self, source: &str) -> Option<Code> {
        self.sources.get(source).map(|rule| rule.classification)
    }

    /// Every source's rule, ordered by name.
    pub fn sources(&self) -> impl Iterator<Item = &SourceRule> {
        self.sources.values()
    }

    /// The code of a long table's metric; `None` for one that nobody has classified.
    pub fn metric(&self, table: &TableName, metric: &str) -> Option<Code> {
        self.metrics.get(&(table.clone(), metric.to_owned())).map(|rule| rule.classification)
    }

    /// The rules of a long table's metrics, ordered by name.
    pub fn metrics(&self, table: &TableName) -> impl Iterator<Item = &MetricRule> {
        self.metrics.range((table.clone(), String::new())..).map(|(_, rule)| rule).take_while({
            let table = table.clone();
            move |rule| rule.table_name == table
        })
    }

    /// What `hwc` does to a column, a metric or a source of a table.
    pub fn restriction(&self, table: &TableName, kind: RestrictionKind, name: &str) -> Option<&Restriction> {
        self.restrictions.get(&(table.clone(), kind, name.to_owned()))
    }

    /// Every restriction, ordered by table, kind and name.
    pub fn restrictions(&self) -> impl Iterator<Item = &Restriction> {
        self.restrictions.values()
    }
}
