//! The rules as the metadata database keeps them: read whole, from one snapshot, and replaced whole, in one
//! transaction. What they mean is for the `classification` crate; nothing here decides what may leave.

mod drift;
mod edit;
mod observed;
mod options;
mod refusal;
mod statements;

use std::path::Path;

use chrono::NaiveDate;
use classification::rules::{Change, RuleTable};
use classification::{RuleErrors, RuleFile, RuleSet};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnection, PgDatabaseError, PgPool};

use crate::error::{ErrorCode, Failure};
use crate::jobs::begin_transaction;

pub use drift::{ColumnDrift, DriftKind, TableDrift};
pub use edit::{Accepted, RuleChange, RuleEdit, column_of};
pub use observed::Observed;
pub use refusal::{refusal, undecided};

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
    /// The metadata database does not take them: its checks know what files alone do not say.
    #[error("the metadata database refuses the rules, and nothing was changed: {0}")]
    Refused(String),
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
        let mut transaction = begin_transaction(&self.pool).await?;
        // Two applications at once would each compute their difference from the same state.
        sqlx::query("LOCK TABLE rules_revision IN EXCLUSIVE MODE").execute(&mut *transaction).await?;
        sqlx::query("SELECT set_config('exporter.actor', $1, true)").bind(actor).execute(&mut *transaction).await?;
        let changes = load(&mut transaction).await?.set.diff(new);
        for change in &changes {
            let (statement, row) = match (&change.before, &change.after) {
                (_, Some(after)) => (statements::upsert(change.table), after),
                (Some(before), None) => (statements::delete(change.table), before),
                (None, None) => continue,
            };
            sqlx::query(statement).bind(row).execute(&mut *transaction).await.map_err(refused)?;
        }
        transaction.commit().await.map_err(refused)?;
        Ok(changes)
    }

    /// Keeps these rules under their revision, so that what is exported under them can be explained later.
    pub async fn keep(&self, rules: &Rules) -> Result<(), RulesError> {
        let mut rows = rules.set.rows();
        rows.pii_rules.clear();
        let rows = serde_json::to_value(rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let keep = sqlx::query(include_str!("keep.sql")).bind(rules.revision).bind(rows).bind(rules.set.pii_text());
        keep.execute(&self.pool).await?;
        Ok(())
    }

    /// The rules of a revision under which a job was planned, with the day on which they were kept; `None` for
    /// another revision.
    pub async fn snapshot(&self, revision: i64) -> Result<Option<Rules>, RulesError> {
        let kept: Option<(Value, String, NaiveDate)> =
            sqlx::query_as(include_str!("snapshot.sql")).bind(revision).fetch_optional(&self.pool).await?;
        let Some((mut rules, pii, today)) = kept else { return Ok(None) };
        if !pii.is_empty() {
            rules["pii_rules"] = json!([{ "rules": pii }]);
        }
        Ok(Some(Rules { set: RuleSet::from_json(&rules)?, revision, today }))
    }
}

/// A check's refusal in its own words, which name rules and no data; anything else is the database's failure.
fn refused(error: sqlx::Error) -> RulesError {
    match error.as_database_error() {
        Some(database) if database.is_check_violation() => {
            let hint = database.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::hint);
            RulesError::Refused([Some(database.message()), hint].into_iter().flatten().collect::<Vec<_>>().join(". "))
        }
        _ => RulesError::Database(error),
    }
}

async fn load(connection: &mut PgConnection) -> Result<Rules, RulesError> {
    let (rules, revision, today): (Value, i64, NaiveDate) =
        sqlx::query_as(include_str!("load.sql")).fetch_one(connection).await?;
    Ok(Rules { set: RuleSet::from_json(&rules)?, revision, today })
}

/// The rules in a folder's five CSV files and its `pii.toml`; other files of other kinds may lie beside them.
pub fn read_folder(folder: &Path) -> Result<RuleSet, RulesError> {
    let unreadable = |path: &Path, error: std::io::Error| RulesError::Unreadable {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        let pii = path.file_name().is_some_and(|name| name == RuleTable::PiiRules.file_name().as_str());
        if pii || path.extension().is_some_and(|extension| extension == "csv") {
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
        file!("pii.toml"),
    ])?)
}
