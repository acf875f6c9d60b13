//! Whether rules and warehouse fit together: every enabled table and column, and what ends soon.

use chrono::{Days, NaiveDate};
use classification::actions::Action;
use classification::rules::RestrictionKind;
use classification::{CatalogColumn, Code, Policy, PolicyError, RuleSet, TableName};
use serde::Serialize;

use super::{Explainer, context, not_in_warehouse};
use crate::error::{ErrorCode, Failure};
use crate::jobs::Tenant;
use crate::rules::{ColumnDrift, DriftKind, refusal, undecided};

/// How many days before its end something is mentioned.
const SOON: Days = Days::new(14);

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The table.
    pub table: TableName,
    /// The stable code that an export of the table would fail with; `None` where it would go on without the column.
    pub code: Option<String>,
    /// For the reader.
    pub message: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// How often the rules had changed.
    pub rules_revision: i64,
    /// The enabled tables.
    pub tables: Vec<TableName>,
    /// Columns that have come apart from their rules.
    pub columns: Vec<ColumnDrift>,
    /// What is to be mended: new and retyped columns, tables that are missing or that no export could have.
    pub problems: Vec<Problem>,
    /// What should be looked at.
    pub warnings: Vec<String>,
}

impl Explainer {
    /// Compares all enabled tables with the warehouse.
    ///
    /// # Errors
    /// `WAREHOUSE_…` when the warehouse does not answer, `RULES_INVALID`, `METADATA_UNAVAILABLE`.
    pub async fn check(&self) -> Result<Check, Failure> {
        let state = self.state().await?;
        let tenant = Tenant::default();
        let (mut columns, mut problems, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        let failing = |failure: Failure, table: &TableName| Problem {
            table: table.clone(),
            code: Some(failure.code.to_string()),
            message: failure.message,
        };
        for ((table, drift), (_, catalog)) in state.drift().into_iter().zip(&state.tables) {
            let Some(catalog) = catalog else {
                problems.push(failing(not_in_warehouse(table), table));
                continue;
            };
            let context = context(&state.rules, &tenant, self.pseudonyms);
            let compiled = Policy::compile(&state.rules.set, table, catalog, context);
            for found in drift.columns() {
                let fails = compiled.as_ref().is_ok_and(|policy| found.fails(policy));
                let code = fails.then(|| ErrorCode::ColumnRetyped.to_string());
                match found.kind {
                    DriftKind::New | DriftKind::Retyped => {
                        problems.push(Problem { table: table.clone(), code, message: found.to_string() });
                    }
                    DriftKind::Missing => warnings.push(found.to_string()),
                }
            }
            columns.extend_from_slice(drift.columns());
            match compiled {
                Ok(policy) => {
                    let row = state.rules.set.table(table).filter(|row| row.scheduled);
                    problems.extend(row.and_then(undecided).map(|failure| failing(failure, table)));
                    problems.extend(unfit(&state.rules.set, table, catalog));
                    warnings.extend(policy.warnings.iter().map(|warning| format!("table '{table}': {warning}")));
                }
                // What other tenants have is not looked at here.
                Err(PolicyError::OtherTenant { .. }) => {}
                Err(error) => problems.push(failing(refusal(&error), table)),
            }
        }
        warnings.extend(ending(&state.rules.set, state.rules.today));
        warnings.extend(state.rules.set.notes());
        Ok(Check {
            rules_revision: state.rules.revision,
            tables: state.tables.iter().map(|(table, _)| table.clone()).collect(),
            columns,
            problems,
            warnings,
        })
    }
}

/// Restrictions whose action cannot be carried out on the type of the column that it is meant for. Files and SQL do not
/// know types; what is restricted so is denied.
fn unfit(rules: &RuleSet, table: &TableName, catalog: &[CatalogColumn]) -> Vec<Problem> {
    let value = rules.table(table).and_then(|row| row.value_column.as_deref());
    let asks_source = |column: &CatalogColumn| {
        let mixed = rules.column(table, &column.name).is_some_and(|rule| rule.classification == Code::Mx);
        let metrics = || rules.metrics(table).any(|rule| rule.classification == Code::Mx);
        mixed || value == Some(column.name.as_str()) && metrics()
    };
    let mut problems = Vec::new();
    for rule in rules.restrictions().filter(|rule| rule.table_name == *table) {
        let Ok(action) = Action::parse(rule.action, &rule.params) else { continue };
        for column in catalog {
            let meant = match rule.kind {
                RestrictionKind::Column => column.name == rule.name,
                RestrictionKind::Metric => value == Some(column.name.as_str()),
                RestrictionKind::Source => asks_source(column),
            };
            if let (true, Err(error)) = (meant, action.fits(column.kind, &column.sql_type)) {
                problems.push(Problem {
                    table: table.clone(),
                    code: None,
                    message: format!(
                        "the restriction of {} '{}' of '{table}' cannot be carried out on column '{}', so what it restricts is denied: {error}",
                        rule.kind, rule.name, column.name
                    ),
                });
            }
        }
    }
    problems
}

/// Attestations and restrictions of enabled tables that end soon, or have ended.
fn ending(rules: &RuleSet, today: NaiveDate) -> Vec<String> {
    let soon = today.checked_add_days(SOON).unwrap_or(NaiveDate::MAX);
    let mut ending = Vec::new();
    for table in rules.tables().filter(|row| row.enabled).map(|row| &row.table_name) {
        for rule in rules.columns(table) {
            let Some(exemption) = rule.exemption().filter(|exemption| exemption.until <= soon) else { continue };
            let ends = if exemption.until < today { "ended on" } else { "ends with" };
            ending.push(format!(
                "the attestation of column '{}' of '{table}' by {} {ends} {}: look at the column and attest it anew, or let it end",
                rule.column_name, exemption.by, exemption.until
            ));
        }
        for rule in rules.restrictions().filter(|rule| rule.table_name == *table) {
            let Some(at) = rule.expires_at.filter(|at| *at <= soon) else { continue };
            let ends = if at < today { "ended on" } else { "ends with" };
            ending.push(format!(
                "the restriction of {} '{}' of '{table}' {ends} {at}: what it restricts is denied afterwards; set another expires_at, or let it end",
                rule.kind, rule.name
            ));
        }
    }
    ending
}
