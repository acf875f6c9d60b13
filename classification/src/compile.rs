//! From rules and a catalog to a policy: which columns and rows of one table leave, and why.
//!
//! Every question about a code is put to the engine; here are only the things around it: roles of columns, tenants,
//! attestations, and the words of the decisions. What is not listed is left out. Restrictions and the removal of
//! personal data are not carried out yet, so whatever needs them stays where it is.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::code::Code;
use crate::engine::{MetricAsk, Verdict, decide};
use crate::policy::{CatalogColumn, ColumnKind, Decision, Outcome, Policy, PolicyColumn, Predicate, RowRule};
use crate::rules::{ColumnRule, DeniedCell, ExportTable, RuleSet};
use crate::table::TableName;

/// The tenant that may read tables without a tenant column.
const DEFAULT_TENANT: &str = "default";

/// For whom and when a policy is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyContext<'a> {
    /// The day on which attestations must still count, by the metadata database's clock in UTC.
    pub today: NaiveDate,
    /// The requester's tenant.
    pub tenant: &'a str,
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
        if row.tenant_column.is_none() && context.tenant != DEFAULT_TENANT {
            return Err(PolicyError::OtherTenant { table: table.clone() });
        }
        roles_exist(row, catalog)?;
        let unclassified = unclassified(rules, table, catalog);
        if row.strict && !unclassified.is_empty() {
            let columns = unclassified.into_iter().map(str::to_owned).collect();
            return Err(PolicyError::Unclassified { table: table.clone(), columns });
        }
        Compiler { rules, row, context }.run(catalog)
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
    context: PolicyContext<'a>,
}

/// What becomes of one column.
struct Fate {
    outcome: Outcome,
    rule: String,
    /// The rows in which the cell is kept.
    cell: Predicate,
    /// The rows that may leave for this column's sake.
    rows: Predicate,
}

impl Fate {
    fn left_out(rule: impl Into<String>) -> Self {
        Self { outcome: Outcome::LeftOut, rule: rule.into(), cell: Predicate::Never, rows: Predicate::Always }
    }
}

impl Compiler<'_> {
    fn run(&self, catalog: &[CatalogColumn]) -> Result<Policy, PolicyError> {
        let table = &self.row.table_name;
        let mut row_rules = Vec::new();
        if let Some(column) = &self.row.tenant_column {
            row_rules.push(RowRule {
                rule: format!("tenant_column: rows of the requester's tenant, by '{column}'"),
                rows: Predicate::one_of(column, [self.context.tenant]),
            });
        }
        if let Some(column) = &self.row.metric_column {
            let metrics = self.metrics(column).normalised();
            row_rules.push(RowRule { rule: format!("long_table_data_classifications: {metrics}"), rows: metrics });
        }
        let mut columns = Vec::new();
        let mut decisions = Vec::new();
        for column in catalog {
            let fate = self.fate(column);
            decisions.push(Decision { column: column.name.clone(), outcome: fate.outcome, rule: fate.rule });
            if fate.outcome == Outcome::LeftOut {
                continue;
            }
            if fate.rows != Predicate::Always {
                let rule = format!("data_column_classification: '{}' is mx: {}", column.name, fate.rows);
                row_rules.push(RowRule { rule, rows: fate.rows });
            }
            columns.push(PolicyColumn {
                name: column.name.clone(),
                sql_type: column.sql_type.clone(),
                kind: column.kind,
                cell: fate.cell,
                care: Vec::new(),
                scan: false,
            });
        }
        for rule in self.rules.columns(table) {
            if !catalog.iter().any(|column| column.name == rule.column_name) {
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
        let rows = Predicate::All(row_rules.iter().map(|rule| rule.rows.clone()).collect()).normalised();
        let hash = hash(table, &columns, &rows, &row_rules, &decisions);
        Ok(Policy {
            table: table.clone(),
            columns,
            rows,
            row_rules,
            warnings: Vec::new(),
            pii_rules: String::new(),
            decisions,
            hash,
        })
    }

    /// What becomes of one column of the catalog.
    fn fate(&self, column: &CatalogColumn) -> Fate {
        let Some(rule) = self.rules.column(&self.row.table_name, &column.name) else {
            return Fate::left_out("no classification");
        };
        let code = rule.classification;
        let said = format!("data_column_classification: {code}");
        let mut fate = match code {
            Code::De => return Fate::left_out(said),
            Code::Hwc => return Fate::left_out(format!("{said} without a valid action")),
            Code::Nr => {
                Fate { outcome: Outcome::Exported, rule: said, cell: Predicate::Always, rows: Predicate::Always }
            }
            Code::Mx => match &self.row.source_column {
                None => return Fate::left_out(format!("{said}, but the table has no source_column")),
                Some(source) => self.mixed(source, said),
            },
        };
        if matches!(column.kind, ColumnKind::Text | ColumnKind::Json) {
            match self.attested(rule) {
                Ok(words) => fate.rule = format!("{}; {words}", fate.rule),
                Err(words) => return Fate::left_out(words),
            }
        }
        if self.row.value_column.as_ref() == Some(&column.name) {
            fate.outcome = Outcome::Restricted;
            fate.rule = format!("{}; rows whose metric is denied are dropped", fate.rule);
        }
        fate
    }

    /// A column whose cells leave only for some sources.
    fn mixed(&self, source: &str, said: String) -> Fate {
        let allowed = Predicate::one_of(source, self.sources(Some(Code::Mx), MetricAsk::NotAsked));
        let (cell, rows, words) = match self.row.denied_cell {
            DeniedCell::DropRow => {
                (Predicate::Always, allowed, "rows of other sources than those that are nr are dropped")
            }
            DeniedCell::NullCell => (allowed, Predicate::Always, "NULL for other sources than those that are nr"),
        };
        Fate { outcome: Outcome::Restricted, rule: format!("{said}: {words}"), cell, rows }
    }

    /// Whether a column of text may leave without being searched for personal data, and the words for it.
    fn attested(&self, rule: &ColumnRule) -> Result<String, String> {
        let way_out = "personal data removal is not available; attest the column exempt or leave it";
        match rule.exemption() {
            None => Err(format!("text without pii_exempt_*: {way_out}")),
            Some(exemption) if exemption.until < self.context.today => {
                Err(format!("pii_exempt_until {} has passed: {way_out}", exemption.until))
            }
            Some(exemption) => Ok(format!("exempt from personal data removal until {}", exemption.until)),
        }
    }

    /// The sources for which the engine lets a cell pass.
    fn sources(&self, column: Option<Code>, metric: MetricAsk) -> BTreeSet<&str> {
        let passing =
            self.rules.sources().filter(|rule| decide(column, metric, Some(rule.classification)) == Verdict::Pass);
        passing.map(|rule| rule.source.as_str()).collect()
    }

    /// The rows of a long table whose metric, with their source where it is asked, is not denied. The value column
    /// is taken for `nr` here: what it adds is decided with the other columns.
    fn metrics(&self, metric_column: &str) -> Predicate {
        let mut free = BTreeSet::new();
        let mut asking = BTreeSet::new();
        for rule in self.rules.metrics(&self.row.table_name) {
            let metric = MetricAsk::Metric(Some(rule.classification));
            if decide(Some(Code::Nr), metric, None) == Verdict::Pass {
                free.insert(rule.metric_name.as_str());
            } else if decide(Some(Code::Nr), metric, Some(Code::Nr)) == Verdict::Pass {
                asking.insert(rule.metric_name.as_str());
            }
        }
        let mut ways = vec![Predicate::one_of(metric_column, free)];
        if let Some(source) = &self.row.source_column {
            let sources = self.sources(Some(Code::Nr), MetricAsk::Metric(Some(Code::Mx)));
            ways.push(Predicate::All(vec![
                Predicate::one_of(metric_column, asking),
                Predicate::one_of(source, sources),
            ]));
        }
        Predicate::Any(ways)
    }
}

/// SHA-256, in hex, of a policy's content as JSON: structures have a fixed order of fields, sets are sorted, and
/// conditions are in their normal form, so equal content has one text.
fn hash(
    table: &TableName,
    columns: &[PolicyColumn],
    rows: &Predicate,
    row_rules: &[RowRule],
    decisions: &[Decision],
) -> String {
    #[derive(Serialize)]
    struct Content<'a> {
        table: &'a TableName,
        columns: &'a [PolicyColumn],
        rows: &'a Predicate,
        row_rules: &'a [RowRule],
        decisions: &'a [Decision],
    }
    // Not by way of a JSON value: whether that keeps the order of fields depends on how the library was built.
    let content = Content { table, columns, rows, row_rules, decisions };
    let text = serde_json::to_vec(&content).expect("names and lists of names always have a JSON form");
    Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect()
}
