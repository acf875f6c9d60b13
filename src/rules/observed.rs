//! The types that columns had when they first left under their rules, as the metadata database keeps them.

use std::collections::BTreeMap;

use classification::{PolicyColumn, TableName};

use super::{RuleStore, RulesError};

/// What is known of columns that have left: their types, by table and column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed(BTreeMap<(String, String), String>);

impl Observed {
    /// The type of a column when it first left under its rule; `None` for one that has not.
    pub fn sql_type(&self, table: &TableName, column: &str) -> Option<&str> {
        self.0.get(&(table.to_string(), column.to_owned())).map(String::as_str)
    }
}

impl FromIterator<(String, String, String)> for Observed {
    /// Of table, column and type.
    fn from_iter<I: IntoIterator<Item = (String, String, String)>>(rows: I) -> Self {
        Self(rows.into_iter().map(|(table, column, sql_type)| ((table, column), sql_type)).collect())
    }
}

impl RuleStore {
    /// What is known of columns that have left. To be read before the rules: a rule that is written in between then
    /// meets the old type, which refuses too much and lets nothing through.
    pub async fn observed(&self) -> Result<Observed, RulesError> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as(include_str!("observed.sql")).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().collect())
    }

    /// Remembers the types of columns that leave and were not known. Nothing is remembered when the rules have
    /// changed since `revision`: whoever wrote one again has not seen these types.
    pub async fn observe(
        &self,
        table: &TableName,
        columns: &[PolicyColumn],
        known: &Observed,
        revision: i64,
    ) -> Result<(), RulesError> {
        let new = columns.iter().filter(|column| known.sql_type(table, &column.name).is_none());
        let (names, types): (Vec<&str>, Vec<&str>) =
            new.map(|column| (column.name.as_str(), column.sql_type.as_str())).unzip();
        if names.is_empty() {
            return Ok(());
        }
        sqlx::query(include_str!("observe.sql"))
            .bind(table.to_string())
            .bind(names)
            .bind(types)
            .bind(revision)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
