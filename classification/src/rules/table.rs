//! The names and headers of the tables. They are a promise: operators write SQL and files against them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the tables that hold rules: five with a row for each rule, and one that holds a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleTable {
    /// Which tables are exported, and what their columns mean.
    ExportTables,
    /// What each column is.
    DataColumnClassification,
    /// What each source is.
    ActualDataClassifications,
    /// What each metric of a long table is.
    LongTableDataClassifications,
    /// What `hwc` does.
    ColumnRestrictions,
    /// How personal data is searched for: one row at most, with the text of `pii.toml`. None stands for the defaults.
    PiiRules,
}

impl RuleTable {
    /// The column of `pii_rules` that holds the text.
    pub(super) const PII_COLUMN: &'static str = "rules";

    /// The five whose files are CSV, in the order in which they refer to each other.
    pub const ALL: [RuleTable; 5] = [
        RuleTable::ExportTables,
        RuleTable::DataColumnClassification,
        RuleTable::ActualDataClassifications,
        RuleTable::LongTableDataClassifications,
        RuleTable::ColumnRestrictions,
    ];

    /// The table's name in the metadata database.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExportTables => "export_tables",
            Self::DataColumnClassification => "data_column_classification",
            Self::ActualDataClassifications => "actual_data_classifications",
            Self::LongTableDataClassifications => "long_table_data_classifications",
            Self::ColumnRestrictions => "column_restrictions",
            Self::PiiRules => "pii_rules",
        }
    }

    /// The file that holds its rows: the name and `.csv`, and `pii.toml` for the PII rules.
    pub fn file_name(self) -> String {
        match self {
            Self::PiiRules => "pii.toml".to_owned(),
            other => format!("{}.csv", other.name()),
        }
    }

    /// The table of a file of this name.
    pub fn of_file(file_name: &str) -> Option<Self> {
        if file_name == Self::PiiRules.file_name() {
            return Some(Self::PiiRules);
        }
        let name = file_name.strip_suffix(".csv")?;
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Its columns, in the order in which a file is written.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::ExportTables => &[
                "table_name",
                "enabled",
                "on_demand",
                "scheduled",
                "time_column",
                "time_unit",
                "time_zone",
                "source_column",
                "metric_column",
                "value_column",
                "tenant_column",
                "denied_cell",
                "strict",
                "format",
                "type_profile",
                "compression",
                "whole_export",
                "scheduled_tenants",
            ],
            Self::DataColumnClassification => &[
                "table_name",
                "column_name",
                "classification",
                "pii_exempt_by",
                "pii_exempt_reason",
                "pii_exempt_until",
            ],
            Self::ActualDataClassifications => &["source", "classification"],
            Self::LongTableDataClassifications => &["table_name", "metric_name", "classification"],
            Self::ColumnRestrictions => {
                &["table_name", "kind", "name", "action", "params", "owner", "reason", "expires_at"]
            }
            Self::PiiRules => &[Self::PII_COLUMN],
        }
    }
}

impl RuleTable {
    /// Whether a file may lack this column, because it was written before there was one: all its cells are empty then.
    pub(super) fn came_later(self, column: &str) -> bool {
        self == Self::ExportTables && ["compression", "whole_export", "scheduled_tenants"].contains(&column)
    }
}

impl fmt::Display for RuleTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
