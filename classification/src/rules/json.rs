//! The rules as a database gives them: one JSON object a row, column names as keys.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Rows;
use super::error::{Place, RuleError};
use super::table::RuleTable;

/// The rows that can be read, and an error for each that cannot.
pub(super) fn read(document: &Value) -> (Rows, Vec<RuleError>) {
    let mut errors = Vec::new();
    let rows = Rows {
        export_tables: table(document, RuleTable::ExportTables, &mut errors),
        data_column_classification: table(document, RuleTable::DataColumnClassification, &mut errors),
        actual_data_classifications: table(document, RuleTable::ActualDataClassifications, &mut errors),
        long_table_data_classifications: table(document, RuleTable::LongTableDataClassifications, &mut errors),
        column_restrictions: table(document, RuleTable::ColumnRestrictions, &mut errors),
        pii_rules: table(document, RuleTable::PiiRules, &mut errors),
    };
    (rows, errors)
}

fn table<T: DeserializeOwned>(document: &Value, table: RuleTable, errors: &mut Vec<RuleError>) -> Vec<T> {
    let Some(rows) = document.get(table.name()).and_then(Value::as_array) else {
        errors.push(RuleError {
            place: Place::Row { table, key: "(all rows)".to_owned() },
            message: "missing, or not a list".to_owned(),
        });
        return Vec::new();
    };
    let mut read = Vec::with_capacity(rows.len());
    for (position, row) in rows.iter().enumerate() {
        match serde_json::from_value(without_nulls(row)) {
            Ok(row) => read.push(row),
            Err(error) => errors
                .push(RuleError { place: Place::Row { table, key: key(row, position) }, message: error.to_string() }),
        }
    }
    read
}

/// The row without its NULL columns, so that they take their defaults.
fn without_nulls(row: &Value) -> Value {
    match row {
        Value::Object(columns) => Value::Object(
            columns.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect(),
        ),
        other => other.clone(),
    }
}

/// What of the row's key can be read, or its number from 1.
fn key(row: &Value, position: usize) -> String {
    let names: Vec<&str> = ["table_name", "kind", "column_name", "metric_name", "name", "source"]
        .iter()
        .filter_map(|column| row.get(column).and_then(Value::as_str))
        .collect();
    if names.is_empty() { format!("row {}", position + 1) } else { names.join(" ") }
}
