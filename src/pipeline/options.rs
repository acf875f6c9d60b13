//! What operators say of single columns, for a scan: read with the plan, and checked against the catalog.

use std::collections::BTreeMap;

use super::Pipeline;
use crate::error::{ErrorCode, Failure};
use crate::warehouse::{ColumnOptions, TableShape};

/// The options of a table's columns.
///
/// # Errors
/// When they name a column that the table does not have: it was meant to be written otherwise.
pub(super) async fn column_options(
    pipeline: &Pipeline,
    shape: &TableShape,
) -> Result<BTreeMap<String, ColumnOptions>, Failure> {
    let said = pipeline.rules.column_options(&shape.table).await?;
    said.into_iter()
        .map(|(column, options)| {
            let wrong = |why: &str| {
                let table = &shape.table;
                Failure::new(
                    ErrorCode::RulesInvalid,
                    format!("column_export_options says something of '{column}' of '{table}' {why}; correct its row"),
                )
            };
            if !shape.columns.iter().any(|found| found.catalog.name == column) {
                return Err(wrong("which the table does not have"));
            }
            let options = serde_json::from_value(options).map_err(|_| wrong("that is not understood"))?;
            Ok((column, options))
        })
        .collect()
}
