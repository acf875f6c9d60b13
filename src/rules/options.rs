//! How single columns are written. Nothing here decides what may leave.

use std::collections::BTreeMap;

use classification::TableName;
use serde_json::Value;
use sqlx::types::Json;

use super::{RuleStore, RulesError};

impl RuleStore {
    /// What `column_export_options` says of a table's columns, by name, each as an object of those of
    /// `on_unrepresentable`, `on_too_long`, `decimals` and `geometry` that are said.
    pub async fn column_options(&self, table: &TableName) -> Result<BTreeMap<String, Value>, RulesError> {
        let Json(options) =
            sqlx::query_scalar(include_str!("options.sql")).bind(table.to_string()).fetch_one(&self.pool).await?;
        Ok(options)
    }
}
