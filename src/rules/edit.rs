//! One rule at a time: the whole set with the change is validated, then it is written with both audits, or not at
//! all. What is so already is not written again.

use classification::rules::{ColumnRule, ExportTable, MetricRule, Rows, RuleTable, SourceRule};
use classification::{CatalogColumn, Code, RuleSet, TableName};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;

use super::statements::upsert;
use super::{RuleStore, Rules, RulesError, load};
use crate::error::{ErrorCode, Failure};
use crate::identity::{Action, Actor, AuditLog};
use crate::jobs::{Tenant, begin_transaction, metadata_failure};

/// A rule as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleEdit {
    /// What a column is, its attestation with it: what is not given is not attested.
    Column(ColumnRule),
    /// What a source is.
    Source(SourceRule),
    /// What a metric of a long table is.
    Metric(MetricRule),
    /// Whether a table of `export_tables` is exported.
    Table {
        /// The table.
        table: TableName,
        /// Whether it is.
        enabled: bool,
    },
}

/// What an edit has done.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleChange {
    /// The rule before; `None` where there was none.
    pub before: Option<Value>,
    /// The rule since.
    pub after: Value,
    /// Whether anything was written.
    pub changed: bool,
    /// How often the rules have changed.
    pub revision: i64,
    /// What holds since, but is probably not meant.
    pub notes: Vec<String>,
}

/// A column whose type was accepted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The column.
    pub column: String,
    /// Its rule, as it was.
    pub classification: Code,
    /// The type that it goes on with.
    pub sql_type: String,
}

impl RuleStore {
    /// Writes one rule. `column` is the column of a [`RuleEdit::Column`] as the warehouse has it: writing its rule
    /// accepts its type; `None` where the warehouse could not be asked.
    ///
    /// # Errors
    /// `RULES_INVALID` with everything that would not hold, `NOT_FOUND` for a table that `export_tables` lacks,
    /// `METADATA_UNAVAILABLE`. Nothing is changed then.
    pub async fn edit(
        &self,
        edit: &RuleEdit,
        column: Option<&CatalogColumn>,
        tenant: &Tenant,
        by: &Actor,
    ) -> Result<RuleChange, Failure> {
        let mut transaction = begin_transaction(&self.pool).await.map_err(metadata_failure)?;
        let old = begin(&mut transaction, by).await?;
        let mut rows = old.set.rows();
        edit.enter(&mut rows)?;
        let new = RuleSet::from_rows(rows).map_err(RulesError::from)?;
        let changes = old.set.diff(&new);
        let retyped = match (edit, column) {
            (RuleEdit::Column(rule), Some(column)) => {
                let known = observed_type(&mut transaction, &rule.table_name, &column.name).await?;
                known.is_some_and(|known| known != column.sql_type)
            }
            _ => false,
        };
        let (table, target, action) = edit.names();
        let (before, after) = (edit.row(&old.set), edit.row(&new).unwrap_or(Value::Null));
        let changed = !changes.is_empty() || retyped;
        if changed {
            sqlx::query(upsert(table)).bind(&after).execute(&mut *transaction).await.map_err(metadata_failure)?;
            if let (RuleEdit::Column(rule), Some(column)) = (edit, column) {
                remember(&mut transaction, &rule.table_name, column).await?;
            }
            let done = Action { tenant, action, target: &target, before: before.clone(), after: Some(after.clone()) };
            AuditLog::record(&mut transaction, by, done).await?;
        }
        let revision = revision(&mut transaction).await?;
        transaction.commit().await.map_err(metadata_failure)?;
        let known = old.set.notes();
        let notes = new.notes().into_iter().filter(|note| !known.contains(note)).collect();
        Ok(RuleChange { before, after, changed, revision, notes })
    }

    /// Says that somebody has looked at these columns as the warehouse has them: their rules stay as they are, and
    /// their types are the ones to go by from now on. Returns all of them, also those of which that was known.
    ///
    /// # Errors
    /// `NOT_FOUND` for a column that the warehouse lacks or that has no rule, `METADATA_UNAVAILABLE`. Nothing is
    /// changed then.
    pub async fn accept(
        &self,
        table: &TableName,
        columns: &[String],
        catalog: &[CatalogColumn],
        by: &Actor,
    ) -> Result<Vec<Accepted>, Failure> {
        let mut transaction = begin_transaction(&self.pool).await.map_err(metadata_failure)?;
        let rules = begin(&mut transaction, by).await?;
        let mut accepted = Vec::with_capacity(columns.len());
        for name in columns {
            let column = column_of(table, name, catalog)?;
            let rule = rules.set.column(table, name).ok_or_else(|| {
                let why = format!("column '{name}' of '{table}' has no rule that could go on; classify it first");
                Failure::new(ErrorCode::NotFound, why)
            })?;
            let known = observed_type(&mut transaction, table, name).await?;
            if known.as_ref() != Some(&column.sql_type) {
                let edit = RuleEdit::Column(rule.clone());
                let (rule_table, target, _) = edit.names();
                sqlx::query(upsert(rule_table))
                    .bind(edit.row(&rules.set))
                    .execute(&mut *transaction)
                    .await
                    .map_err(metadata_failure)?;
                remember(&mut transaction, table, column).await?;
                let typed = |sql_type: &str| json!({"sql_type": sql_type, "classification": rule.classification});
                let done = Action {
                    tenant: &Tenant::default(),
                    action: "classification.accept",
                    target: &target,
                    before: known.as_deref().map(typed),
                    after: Some(typed(&column.sql_type)),
                };
                AuditLog::record(&mut transaction, by, done).await?;
            }
            accepted.push(Accepted {
                column: name.clone(),
                classification: rule.classification,
                sql_type: column.sql_type.clone(),
            });
        }
        transaction.commit().await.map_err(metadata_failure)?;
        Ok(accepted)
    }
}

impl RuleEdit {
    /// Enters the rule among the others.
    fn enter(&self, rows: &mut Rows) -> Result<(), Failure> {
        fn put<T>(rows: &mut Vec<T>, new: &T, same: impl Fn(&T) -> bool)
        where
            T: Clone,
        {
            rows.retain(|row| !same(row));
            rows.push(new.clone());
        }
        match self {
            Self::Column(new) => put(&mut rows.data_column_classification, new, |row| {
                (&row.table_name, &row.column_name) == (&new.table_name, &new.column_name)
            }),
            Self::Source(new) => put(&mut rows.actual_data_classifications, new, |row| row.source == new.source),
            Self::Metric(new) => {
                listed(rows, &new.table_name)?;
                put(&mut rows.long_table_data_classifications, new, |row| {
                    (&row.table_name, &row.metric_name) == (&new.table_name, &new.metric_name)
                });
            }
            Self::Table { table, enabled } => listed(rows, table)?.enabled = *enabled,
        }
        Ok(())
    }

    /// The rule among those of a set, as JSON.
    fn row(&self, rules: &RuleSet) -> Option<Value> {
        fn written<T: Serialize>(row: &T) -> Value {
            serde_json::to_value(row).unwrap_or(Value::Null)
        }
        match self {
            Self::Column(new) => rules.column(&new.table_name, &new.column_name).map(written),
            Self::Source(new) => rules.sources().find(|row| row.source == new.source).map(written),
            Self::Metric(new) => {
                rules.metrics(&new.table_name).find(|row| row.metric_name == new.metric_name).map(written)
            }
            Self::Table { table, .. } => rules.table(table).map(written),
        }
    }

    /// The table that holds the rule, the rule's key, and what changing it is called in the audit.
    fn names(&self) -> (RuleTable, String, &'static str) {
        match self {
            Self::Column(rule) => (
                RuleTable::DataColumnClassification,
                format!("{} {}", rule.table_name, rule.column_name),
                "classification.column",
            ),
            Self::Source(rule) => (RuleTable::ActualDataClassifications, rule.source.clone(), "classification.source"),
            Self::Metric(rule) => (
                RuleTable::LongTableDataClassifications,
                format!("{} {}", rule.table_name, rule.metric_name),
                "classification.metric",
            ),
            Self::Table { table, .. } => (RuleTable::ExportTables, table.to_string(), "classification.table"),
        }
    }
}

/// The row of a table that must be there.
fn listed<'r>(rows: &'r mut Rows, table: &TableName) -> Result<&'r mut ExportTable, Failure> {
    let names: Vec<String> = rows.export_tables.iter().map(|row| row.table_name.to_string()).collect();
    rows.export_tables.iter_mut().find(|row| row.table_name == *table).ok_or_else(|| {
        let hint = hint(&table.to_string(), names.iter().map(String::as_str));
        Failure::new(ErrorCode::NotFound, format!("export_tables does not list '{table}'{hint}"))
    })
}

/// A column of a table as the warehouse has it.
///
/// # Errors
/// `NOT_FOUND`, with the nearest name there is.
pub fn column_of<'c>(
    table: &TableName,
    column: &str,
    catalog: &'c [CatalogColumn],
) -> Result<&'c CatalogColumn, Failure> {
    catalog.iter().find(|candidate| candidate.name == column).ok_or_else(|| {
        let hint = hint(column, catalog.iter().map(|column| column.name.as_str()));
        Failure::new(ErrorCode::NotFound, format!("the warehouse's table '{table}' has no column '{column}'{hint}"))
    })
}

/// The name that was probably meant, if one is near.
fn hint<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    let nearest = names.map(|candidate| (distance(name, candidate), candidate)).min();
    match nearest {
        Some((far, nearest)) if far <= name.chars().count().max(3) / 2 => format!("; did you mean '{nearest}'?"),
        _ => String::new(),
    }
}

/// How many characters must be put in, taken out or replaced to make one name of the other (Levenshtein's distance),
/// capitals aside.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// Keeps other writers of rules out, and says for the audit who writes.
async fn begin(transaction: &mut PgConnection, by: &Actor) -> Result<Rules, Failure> {
    sqlx::query("LOCK TABLE rules_revision IN EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await
        .map_err(metadata_failure)?;
    sqlx::query("SELECT set_config('exporter.actor', $1, true)")
        .bind(&by.name)
        .execute(&mut *transaction)
        .await
        .map_err(metadata_failure)?;
    Ok(load(transaction).await?)
}

async fn revision(transaction: &mut PgConnection) -> Result<i64, Failure> {
    sqlx::query_scalar("SELECT revision FROM rules_revision").fetch_one(transaction).await.map_err(metadata_failure)
}

async fn observed_type(
    transaction: &mut PgConnection,
    table: &TableName,
    column: &str,
) -> Result<Option<String>, Failure> {
    sqlx::query_scalar(include_str!("observed_type.sql"))
        .bind(table.to_string())
        .bind(column)
        .fetch_optional(transaction)
        .await
        .map_err(metadata_failure)
}

/// Keeps the type with which a column was classified. Its rule was written in this transaction, which made the one
/// before be forgotten.
async fn remember(transaction: &mut PgConnection, table: &TableName, column: &CatalogColumn) -> Result<(), Failure> {
    let revision = revision(transaction).await?;
    sqlx::query(include_str!("observe.sql"))
        .bind(table.to_string())
        .bind([column.name.as_str()])
        .bind([column.sql_type.as_str()])
        .bind(revision)
        .execute(transaction)
        .await
        .map(drop)
        .map_err(metadata_failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_if_it_is_near() {
        for (name, expected) in [
            ("lanse", Some("lanes")),
            ("LANES", Some("lanes")),
            ("max_sped", Some("max_speed")),
            ("way_di", Some("way_id")),
            ("qqqqqqqqqq", None),
        ] {
            let expected = expected.map_or(String::new(), |expected| format!("; did you mean '{expected}'?"));
            assert_eq!(hint(name, ["way_id", "lanes", "max_speed"].into_iter()), expected, "{name}");
        }
        assert_eq!((distance("", "abc"), distance("kitten", "sitting"), distance("é", "e")), (3, 3, 1));
    }
}
