//! Drift: where the warehouse's catalog and the rules have come apart. What is new is not classified, what is missing
//! was renamed or dropped, and what has another type is not what somebody once looked at.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use classification::pii::{Entity, names};
use classification::{CatalogColumn, Policy, RuleSet, TableName, unclassified};
use serde::Serialize;

use super::Observed;
use crate::error::{ErrorCode, Failure};

/// How often the same drift of one table is logged by one process, at most.
const LOGGED_EVERY: Duration = Duration::from_secs(3_600);

/// How a column has come apart from its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DriftKind {
    /// The warehouse has it, and nobody has classified it.
    New,
    /// It is classified, and the warehouse has it no more.
    Missing,
    /// Its type is not the one that it left with.
    Retyped,
}

/// One column that has come apart from its rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnDrift {
    /// The table.
    pub table: TableName,
    /// The column.
    pub column: String,
    /// How.
    pub kind: DriftKind,
    /// Its type now; `None` for one that is missing.
    pub sql_type: Option<String>,
    /// The type that it left with; `None` where it never left.
    pub previous_type: Option<String>,
    /// The kind of personal data that its name speaks of, such as `EMAIL`.
    pub suspected: Option<&'static str>,
    /// The missing column that this new one probably was: the only two of their type.
    pub renamed_from: Option<String>,
    /// What to do about it.
    pub suggestion: String,
}

impl ColumnDrift {
    /// Whether it would leave by this policy although its type is not the one that was looked at.
    pub fn fails(&self, policy: &Policy) -> bool {
        self.kind == DriftKind::Retyped && policy.columns.iter().any(|column| column.name == self.column)
    }
}

impl fmt::Display for ColumnDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, column, suggestion, .. } = self;
        let now = self.sql_type.as_deref().unwrap_or("of unknown type");
        match self.kind {
            DriftKind::New => write!(f, "column '{column}' of '{table}' ({now}) is not classified: {suggestion}"),
            DriftKind::Missing => {
                write!(f, "column '{column}' of '{table}' is classified and not in the warehouse: {suggestion}")
            }
            DriftKind::Retyped => {
                let was = self.previous_type.as_deref().unwrap_or("of unknown type");
                write!(
                    f,
                    "column '{column}' of '{table}' was {was} when it was classified and is {now} now: {suggestion}"
                )
            }
        }
    }
}

/// The drift of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDrift {
    table: TableName,
    columns: Vec<ColumnDrift>,
}

impl TableDrift {
    /// Compares a table's columns with its rules: new ones in the catalog's order, then missing and retyped ones.
    pub fn of(rules: &RuleSet, table: &TableName, catalog: &[CatalogColumn], observed: &Observed) -> Self {
        let new = unclassified(rules, table, catalog);
        let new: Vec<&CatalogColumn> = catalog.iter().filter(|column| new.contains(&column.name.as_str())).collect();
        let in_catalog = |name: &str| catalog.iter().find(|column| column.name == name);
        let missing: Vec<&str> = rules
            .columns(table)
            .map(|rule| rule.column_name.as_str())
            .filter(|name| in_catalog(name).is_none())
            .collect();
        let renamed = renamed(&new, &missing, |name| observed.sql_type(table, name));
        let mut columns = Vec::new();
        for column in new {
            let from = renamed.get(column.name.as_str()).copied();
            let code = from.and_then(|from| rules.column(table, from)).map(|rule| rule.classification);
            let suspected = names::suspect(&column.name);
            columns.push(ColumnDrift {
                table: table.clone(),
                column: column.name.clone(),
                kind: DriftKind::New,
                sql_type: Some(column.sql_type.clone()),
                previous_type: None,
                suspected: suspected.map(Entity::label),
                renamed_from: from.map(str::to_owned),
                suggestion: match (suspected, from, code) {
                    (Some(entity), _, _) => {
                        format!("classify it de, or hwc with a restriction: its name speaks of {}", entity.label())
                    }
                    (None, Some(from), Some(code)) => {
                        format!("probably '{from}' under a new name: look at it, classify it {code} as that was, and remove the old rule")
                    }
                    _ => "classify it: de keeps it here, mx lets it leave for some sources, nr lets it leave".to_owned(),
                },
            });
        }
        for name in missing {
            let to = renamed.iter().find(|(_, from)| **from == name).map(|(to, _)| *to);
            columns.push(ColumnDrift {
                table: table.clone(),
                column: name.to_owned(),
                kind: DriftKind::Missing,
                sql_type: None,
                previous_type: observed.sql_type(table, name).map(str::to_owned),
                suspected: names::suspect(name).map(Entity::label),
                renamed_from: None,
                suggestion: match to {
                    Some(to) => format!("probably renamed to '{to}': classify that one, and remove this rule"),
                    None => "dropped or renamed: remove its rule, or correct the name".to_owned(),
                },
            });
        }
        for rule in rules.columns(table) {
            let (Some(now), Some(was)) = (in_catalog(&rule.column_name), observed.sql_type(table, &rule.column_name))
            else {
                continue;
            };
            if now.sql_type != was {
                columns.push(ColumnDrift {
                    table: table.clone(),
                    column: now.name.clone(),
                    kind: DriftKind::Retyped,
                    sql_type: Some(now.sql_type.clone()),
                    previous_type: Some(was.to_owned()),
                    suspected: names::suspect(&now.name).map(Entity::label),
                    renamed_from: None,
                    suggestion: format!(
                        "look at what it holds now, then classify it again: {}",
                        accept(table, &now.name)
                    ),
                });
            }
        }
        Self { table: table.clone(), columns }
    }

    /// The columns, new ones first.
    pub fn columns(&self) -> &[ColumnDrift] {
        &self.columns
    }

    /// The columns of one kind.
    pub fn of_kind(&self, kind: DriftKind) -> impl Iterator<Item = &ColumnDrift> {
        self.columns.iter().filter(move |drift| drift.kind == kind)
    }

    /// Refuses a policy by which a column would leave whose type is not the one that was looked at.
    ///
    /// # Errors
    /// `COLUMN_RETYPED`, with each such column, both types and the way out.
    pub fn refuse(&self, policy: &Policy) -> Result<(), Failure> {
        let mut retyped = self.columns.iter().filter(|drift| drift.fails(policy)).peekable();
        let Some(first) = retyped.peek() else { return Ok(()) };
        let way_out = accept(&self.table, &first.column);
        let words: Vec<String> = retyped
            .map(|drift| {
                format!(
                    "'{}' was {} when it was classified and is {} now",
                    drift.column,
                    drift.previous_type.as_deref().unwrap_or("another"),
                    drift.sql_type.as_deref().unwrap_or("another")
                )
            })
            .collect();
        Err(Failure::new(
            ErrorCode::ColumnRetyped,
            format!(
                "in table '{}' column {}; look at what it holds now, then classify it again: `{way_out}` keeps its rule, setColumnClassification changes it",
                self.table,
                words.join(", column "),
            ),
        ))
    }

    /// Counts the drift for the metrics, and logs it unless this process has done so within the hour.
    pub fn report(&self) {
        static LOGGED: Logged = Logged::new();
        let names = |kind| self.of_kind(kind).map(|drift| drift.column.as_str()).collect::<Vec<_>>();
        let (new, missing, retyped) = (names(DriftKind::New), names(DriftKind::Missing), names(DriftKind::Retyped));
        for (gauge, count) in [
            ("exporter_unclassified_columns", new.len()),
            ("exporter_missing_columns", missing.len()),
            ("exporter_retyped_columns", retyped.len()),
        ] {
            metrics::gauge!(gauge, "table" => self.table.to_string()).set(count as f64);
        }
        if LOGGED.is_due(self, Instant::now()) {
            let renamed: Vec<String> = self
                .columns
                .iter()
                .filter_map(|drift| Some(format!("{} -> {}", drift.renamed_from.as_ref()?, drift.column)))
                .collect();
            tracing::warn!(
                table = %self.table,
                unclassified = ?new,
                missing = ?missing,
                retyped = ?retyped,
                renamed = ?renamed,
                "the warehouse's columns and the rules have come apart; see `data-exporter classification check`"
            );
        }
    }
}

/// The command that keeps a column's rule for its new type.
fn accept(table: &TableName, column: &str) -> String {
    format!("data-exporter classification accept {} {}", quoted(&table.to_string()), quoted(column))
}

/// A name as one word of a shell.
fn quoted(name: &str) -> String {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', "'\\''"))
}

/// New columns that probably are missing ones under another name: exactly one of each has the type.
fn renamed<'a>(
    new: &[&'a CatalogColumn],
    missing: &[&'a str],
    type_of_missing: impl Fn(&str) -> Option<&'a str>,
) -> BTreeMap<&'a str, &'a str> {
    let mut renamed = BTreeMap::new();
    for column in new {
        let mut gone = missing.iter().filter(|name| type_of_missing(name) == Some(column.sql_type.as_str()));
        let alike = new.iter().filter(|other| other.sql_type == column.sql_type).count();
        if let (Some(from), None, 1) = (gone.next(), gone.next(), alike) {
            renamed.insert(column.name.as_str(), *from);
        }
    }
    renamed
}

/// What has been logged of each table, and when.
struct Logged(Mutex<BTreeMap<TableName, (TableDrift, Instant)>>);

impl Logged {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Whether to log this drift now; if so, it counts as logged. A table without drift is forgotten.
    fn is_due(&self, drift: &TableDrift, now: Instant) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if drift.columns.is_empty() {
            logged.remove(&drift.table);
            return false;
        }
        let said = logged.get(&drift.table);
        let due = said.is_none_or(|(last, at)| last != drift || now.duration_since(*at) >= LOGGED_EVERY);
        if due {
            logged.insert(drift.table.clone(), (drift.clone(), now));
        }
        due
    }
}

#[cfg(test)]
mod tests;
