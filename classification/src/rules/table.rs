//! The names and headers of the five tables. They are a promise: operators write SQL and files against them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the five tables that hold rules.
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
}

impl RuleTable {
    /// All five, in the order in which they refer to each other.
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
        }
    }

    /// The file that holds its rows: the name and `.csv`.
    pub fn file_name(self) -> String {
        format!("{}.csv", self.name())
    }

    /// The table of a file of this name.
    pub fn of_file(file_name: &str) -> Option<Self> {
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
        }
    }
}

impl fmt::Display for RuleTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
