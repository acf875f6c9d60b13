//! From rules and a catalog to a policy: which columns and rows of one table leave, and why.
//!
//! Every question about a code is put to the engine; here are only the things around it: roles of columns, tenants,
//! attestations, actions, and the words of the decisions. What is not listed is left out.
//!
//! `column` decides what becomes of one column, `care` finds the actions of `hwc` for columns, metrics and sources,
//! and `hash` gives the whole its name.

mod care;
mod column;
mod hash;

use chrono::NaiveDate;

use crate::pii::names;
use crate::policy::{CatalogColumn, Decision, Outcome, Policy, PolicyColumn, Predicate, RowRule};
use crate::rules::{ExportTable, RuleSet};
use crate::table::TableName;

/// The tenant that may read tables without a tenant column.
const DEFAULT_TENANT: &str = "default";

/// Whose rows leave of a table with a tenant column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// This tenant's.
    One(&'a str),
    /// Everybody's.
    All,
}

/// For whom and when a policy is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyContext<'a> {
    /// The day on which attestations and restrictions must still count, by the metadata database's clock in UTC.
    pub today: NaiveDate,
    /// Whose rows may leave: the requester's, or what a data owner has said of the schedule.
    pub tenant: Whose<'a>,
    /// Whether there is a key for pseudonyms: without one, what asks for them does not leave.
    pub pseudonyms: bool,
}

/// Why a table has no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// `export_tables` does not name it.
    #[error("table '{table}' is not offered: export_tables does not list it")]
    TableUnknown {
        /// The table.
        table: TableName,
    },
    /// `export_tables` names it, not enabled.
    #[error("table '{table}' is not offered: export_tables lists it as disabled")]
    TableDisabled {
        /// The table.
        table: TableName,
    },
    /// The table belongs to the tenant `default`, and somebody else asks.
    #[error(
        "table '{table}' is not offered to this tenant: it has no tenant_column, so it is for the tenant 'default' alone"
    )]
    OtherTenant {
        /// The table.
        table: TableName,
    },
    /// `export_tables` gives a role to a column that the warehouse does not have.
    #[error("export_tables names '{column}' as {role} of '{table}', but the warehouse's table has no such column")]
    ColumnMissing {
        /// The table.
        table: TableName,
        /// The role, such as `source_column`.
        role: &'static str,
        /// The column.
        column: String,
    },
    /// A strict table has columns that nobody has classified.
    #[error("table '{table}' is strict and has unclassified columns: {}; classify each in data_column_classification", columns.join(", "))]
    Unclassified {
        /// The table.
        table: TableName,
        /// The columns, in the catalog's order.
        columns: Vec<String>,
    },
    /// No column may leave.
    #[error(
        "the rules let no column of '{table}' leave; `data-exporter classification explain` says why, column by column"
    )]
    NothingExportable {
        /// The table.
        table: TableName,
        /// Why, column by column.
        decisions: Vec<Decision>,
    },
}

/// The columns of the catalog that no rule classifies, in the catalog's order.
pub fn unclassified<'a>(rules: &RuleSet, table: &TableName, catalog: &'a [CatalogColumn]) -> Vec<&'a str> {
    let names = catalog.iter().map(|column| column.name.as_str());
    names.filter(|name| rules.column(table, name).is_none()).collect()
}

impl Policy {
    /// Compiles what the rules say of a table whose columns are `catalog`, in the catalog's order.
    pub fn compile(
        rules: &RuleSet,
        table: &TableName,
        catalog: &[CatalogColumn],
        context: PolicyContext<'_>,
    ) -> Result<Policy, PolicyError> {
        let row = rules.table(table).ok_or_else(|| PolicyError::TableUnknown { table: table.clone() })?;
        if !row.enabled {
            return Err(PolicyError::TableDisabled { table: table.clone() });
        }
        if row.tenant_column.is_none() && matches!(context.tenant, Whose::One(tenant) if tenant != DEFAULT_TENANT) {
            return Err(PolicyError::OtherTenant { table: table.clone() });
        }
        roles_exist(row, catalog)?;
        let unclassified = unclassified(rules, table, catalog);
        if row.strict && !unclassified.is_empty() {
            let columns = unclassified.into_iter().map(str::to_owned).collect();
            return Err(PolicyError::Unclassified { table: table.clone(), columns });
        }
        Compiler { rules, row, catalog, context }.run()
    }
}

/// Every column to which `export_tables` gives a role is there.
fn roles_exist(row: &ExportTable, catalog: &[CatalogColumn]) -> Result<(), PolicyError> {
    let roles = [
        ("time_column", &row.time_column),
        ("source_column", &row.source_column),
        ("metric_column", &row.metric_column),
        ("value_column", &row.value_column),
        ("tenant_column", &row.tenant_column),
    ];
    for (role, name) in roles {
        if let Some(name) = name
            && !catalog.iter().any(|column| column.name == *name)
        {
            return Err(PolicyError::ColumnMissing { table: row.table_name.clone(), role, column: name.clone() });
        }
    }
    Ok(())
}

struct Compiler<'a> {
    rules: &'a RuleSet,
    row: &'a ExportTable,
    catalog: &'a [CatalogColumn],
    context: PolicyContext<'a>,
}

impl Compiler<'_> {
    fn run(&self) -> Result<Policy, PolicyError> {
        let table = &self.row.table_name;
        let mut row_rules = Vec::new();
        if let (Some(column), Whose::One(tenant)) = (&self.row.tenant_column, self.context.tenant) {
            row_rules.push(RowRule {
                rule: format!("tenant_column: rows of the requester's tenant, by '{column}'"),
                rows: Predicate::one_of(column, [tenant]),
            });
        }
        let metrics = self.metrics();
        if let Some(metrics) = &metrics {
            let rule = format!("long_table_data_classifications: {}{}", metrics.rows, metrics.denied);
            row_rules.push(RowRule { rule, rows: metrics.rows.clone() });
        }
        let mut columns = Vec::new();
        let mut decisions = Vec::new();
        let mut warnings = Vec::new();
        for column in self.catalog {
            let decided = |outcome, rule| Decision { column: column.name.clone(), outcome, rule };
            let fate = match self.fate(column, metrics.as_ref()) {
                Ok(fate) => fate,
                Err(why) => {
                    decisions.push(decided(Outcome::LeftOut, why));
                    continue;
                }
            };
            decisions.push(decided(fate.outcome, fate.said));
            row_rules.extend(fate.rows);
            warnings.extend(fate.warning);
            columns.push(PolicyColumn {
                name: column.name.clone(),
                sql_type: column.sql_type.clone(),
                kind: column.kind,
                cell: fate.cell,
                care: fate.care,
                scan: fate.scan,
            });
        }
        for rule in self.rules.columns(table) {
            if !self.catalog.iter().any(|column| column.name == rule.column_name) {
                decisions.push(Decision {
                    column: rule.column_name.clone(),
                    outcome: Outcome::LeftOut,
                    rule: "classified, but not in the warehouse".to_owned(),
                });
            }
        }
        if columns.is_empty() {
            return Err(PolicyError::NothingExportable { table: table.clone(), decisions });
        }
        warnings.extend(trajectories(table, &columns));
        let scanned = columns.iter().any(|column| column.scan);
        let mut policy = Policy {
            table: table.clone(),
            rows: Predicate::All(row_rules.iter().map(|rule| rule.rows.clone()).collect()).normalised(),
            columns,
            row_rules,
            warnings,
            pii_rules: if scanned { self.rules.pii_text().to_owned() } else { String::new() },
            decisions,
            hash: String::new(),
        };
        policy.hash = hash::of(&policy);
        Ok(policy)
    }
}

/// A sentence if what leaves exact looks like the movements of single vehicles or people.
fn trajectories(table: &TableName, columns: &[PolicyColumn]) -> Option<String> {
    let exact = columns.iter().filter(|column| !column.care.iter().any(care::makes_coarser));
    names::looks_like_trajectories(exact.map(|column| column.name.as_str())).then(|| {
        format!(
            "'{table}' looks like the movements of single vehicles or people, which a few points give away: classify \
             coordinates, times or the identity hwc, with actions such as generalise {{\"round\": 3}}, generalise \
             {{\"date_trunc\": \"hour\"}} and pseudonym with \"per\": \"day\""
        )
    })
}
