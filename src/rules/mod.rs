//! The rules as the metadata database keeps them: read whole, from one snapshot, and replaced whole, in one
//! transaction. What they mean is for the `classification` crate; nothing here decides what may leave.

use std::path::Path;

use chrono::NaiveDate;
use classification::rules::{Change, RuleTable};
use classification::{RuleErrors, RuleFile, RuleSet};
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgPool};

use crate::error::{ErrorCode, Failure};

/// The rules of one moment.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What they are, validated.
    pub set: RuleSet,
    /// How often they had changed.
    pub revision: i64,
    /// The day of that moment by the database's clock, in UTC: attestations are measured against it.
    pub today: NaiveDate,
}

/// Why rules could not be read or applied.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// They do not hold.
    #[error("the rules do not hold, and nothing was changed:\n{0}")]
    Invalid(#[from] RuleErrors),
    /// A file cannot be read.
    #[error("cannot read rules from '{path}': {reason}")]
    Unreadable {
        /// The file or folder.
        path: String,
        /// Why.
        reason: String,
    },
    /// The metadata database failed.
    #[error("metadata database: {0}")]
    Database(#[from] sqlx::Error),
}

impl From<RulesError> for Failure {
    fn from(error: RulesError) -> Self {
        match error {
            RulesError::Database(database) => crate::jobs::metadata_failure(database),
            other => Failure::new(ErrorCode::RulesInvalid, other.to_string()),
        }
    }
}

/// Reads and replaces the rules.
#[derive(Debug, Clone)]
pub struct RuleStore {
    pool: PgPool,
}

impl RuleStore {
    /// Over the metadata database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The rules as they are now.
    ///
    /// # Errors
    /// Also when they do not hold together: then nothing may be exported under them.
    pub async fn load(&self) -> Result<Rules, RulesError> {
        let mut connection = self.pool.acquire().await?;
        load(&mut connection).await
    }

    /// What replacing the rules by `new` would change.
    pub async fn diff(&self, new: &RuleSet) -> Result<Vec<Change>, RulesError> {
        Ok(self.load().await?.set.diff(new))
    }

    /// Replaces the rules by `new` in one transaction, audited under the name of `actor`. Returns what changed.
    pub async fn apply(&self, new: &RuleSet, actor: &str) -> Result<Vec<Change>, RulesError> {
        let mut connection = self.pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        // Two applications at once would each compute their difference from the same state.
        sqlx::query("LOCK TABLE rules_revision IN EXCLUSIVE MODE").execute(&mut *transaction).await?;
        sqlx::query("SELECT set_config('exporter.actor', $1, true)").bind(actor).execute(&mut *transaction).await?;
        let changes = load(&mut transaction).await?.set.diff(new);
        for change in &changes {
            let (statement, row) = match (&change.before, &change.after) {
                (_, Some(after)) => (upsert(change.table), after),
                (Some(before), None) => (delete(change.table), before),
                (None, None) => continue,
            };
            sqlx::query(statement).bind(row).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(changes)
    }
}

async fn load(connection: &mut PgConnection) -> Result<Rules, RulesError> {
    let (rules, revision, today): (Value, i64, NaiveDate) =
        sqlx::query_as(include_str!("load.sql")).fetch_one(connection).await?;
    Ok(Rules { set: RuleSet::from_json(&rules)?, revision, today })
}

/// The rules in a folder's five CSV files.
pub fn read_folder(folder: &Path) -> Result<RuleSet, RulesError> {
    let unreadable = |path: &Path, error: std::io::Error| RulesError::Unreadable {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, text));
        }
    }
    files.sort();
    let files: Vec<RuleFile<'_>> = files.iter().map(|(name, text)| RuleFile { name, text }).collect();
    Ok(RuleSet::parse(&files)?)
}

/// The rules that ship with the sample warehouse, the files of `classification/`.
pub fn shipped() -> Result<RuleSet, RulesError> {
    macro_rules! file {
        ($name:literal) => {
            RuleFile { name: $name, text: include_str!(concat!("../../classification/", $name)) }
        };
    }
    Ok(RuleSet::parse(&[
        file!("export_tables.csv"),
        file!("data_column_classification.csv"),
        file!("actual_data_classifications.csv"),
        file!("long_table_data_classifications.csv"),
        file!("column_restrictions.csv"),
    ])?)
}

fn upsert(table: RuleTable) -> &'static str {
    match table {
        RuleTable::ExportTables => {
            "INSERT INTO export_tables SELECT (jsonb_populate_record(NULL::export_tables, $1)).*
             ON CONFLICT (table_name) DO UPDATE SET
                 (enabled, on_demand, scheduled, time_column, time_unit, time_zone, source_column, metric_column,
                  value_column, tenant_column, denied_cell, strict, format, type_profile)
               = (excluded.enabled, excluded.on_demand, excluded.scheduled, excluded.time_column, excluded.time_unit,
                  excluded.time_zone, excluded.source_column, excluded.metric_column, excluded.value_column,
                  excluded.tenant_column, excluded.denied_cell, excluded.strict, excluded.format, excluded.type_profile)"
        }
        RuleTable::DataColumnClassification => {
            "INSERT INTO data_column_classification
             SELECT (jsonb_populate_record(NULL::data_column_classification, $1)).*
             ON CONFLICT (table_name, column_name) DO UPDATE SET
                 (classification, pii_exempt_by, pii_exempt_reason, pii_exempt_until)
               = (excluded.classification, excluded.pii_exempt_by, excluded.pii_exempt_reason, excluded.pii_exempt_until)"
        }
        RuleTable::ActualDataClassifications => {
            "INSERT INTO actual_data_classifications
             SELECT (jsonb_populate_record(NULL::actual_data_classifications, $1)).*
             ON CONFLICT (source) DO UPDATE SET classification = excluded.classification"
        }
        RuleTable::LongTableDataClassifications => {
            "INSERT INTO long_table_data_classifications
             SELECT (jsonb_populate_record(NULL::long_table_data_classifications, $1)).*
             ON CONFLICT (table_name, metric_name) DO UPDATE SET classification = excluded.classification"
        }
        RuleTable::ColumnRestrictions => {
            "INSERT INTO column_restrictions SELECT (jsonb_populate_record(NULL::column_restrictions, $1)).*
             ON CONFLICT (table_name, kind, name) DO UPDATE SET
                 (action, params, owner, reason, expires_at)
               = (excluded.action, excluded.params, excluded.owner, excluded.reason, excluded.expires_at)"
        }
    }
}

fn delete(table: RuleTable) -> &'static str {
    match table {
        RuleTable::ExportTables => {
            "DELETE FROM export_tables AS rule USING jsonb_populate_record(NULL::export_tables, $1) AS gone
             WHERE rule.table_name = gone.table_name"
        }
        RuleTable::DataColumnClassification => {
            "DELETE FROM data_column_classification AS rule
             USING jsonb_populate_record(NULL::data_column_classification, $1) AS gone
             WHERE (rule.table_name, rule.column_name) = (gone.table_name, gone.column_name)"
        }
        RuleTable::ActualDataClassifications => {
            "DELETE FROM actual_data_classifications AS rule
             USING jsonb_populate_record(NULL::actual_data_classifications, $1) AS gone
             WHERE rule.source = gone.source"
        }
        RuleTable::LongTableDataClassifications => {
            "DELETE FROM long_table_data_classifications AS rule
             USING jsonb_populate_record(NULL::long_table_data_classifications, $1) AS gone
             WHERE (rule.table_name, rule.metric_name) = (gone.table_name, gone.metric_name)"
        }
        RuleTable::ColumnRestrictions => {
            "DELETE FROM column_restrictions AS rule USING jsonb_populate_record(NULL::column_restrictions, $1) AS gone
             WHERE (rule.table_name, rule.kind, rule.name) = (gone.table_name, gone.kind, gone.name)"
        }
    }
}
