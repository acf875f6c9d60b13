//! What the rules do to the tables as they are: column by column with the rule that decided it, how many rows each
//! rule holds back, and where warehouse and rules have come apart.
//!
//! It asks the warehouse for its catalog and for counts, never for a row, and changes nothing.

mod check;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Days, NaiveTime, Utc};
use classification::rules::ExportTable;
use classification::{
    CatalogColumn, Decision, Outcome, Policy, PolicyColumn, PolicyContext, PolicyError, Predicate, RuleSet, TableName,
    Whose,
};
use serde::Serialize;

pub use self::check::{Check, Problem};
use crate::error::{ErrorCode, Failure};
use crate::jobs::{Compression, ExportFormat, FileChoice, Tenant, Window};
use crate::rules::{ColumnDrift, Observed, RuleStore, Rules, RulesError, TableDrift, refusal};
use crate::warehouse::{TableShape, TimeSlice, Warehouse};

/// Explains rules against a warehouse.
#[derive(Debug, Clone)]
pub struct Explainer {
    rules: RuleStore,
    warehouse: Option<Arc<dyn Warehouse>>,
    /// Whether those who export have a key for pseudonyms.
    pseudonyms: bool,
}

/// Whose rows are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// All rows: for whoever operates the service.
    Everything,
    /// The tenant's own rows: it learns nothing of what others have, not even how much.
    OwnRows,
}

/// What is to be explained.
#[derive(Debug, Clone)]
pub struct Question {
    /// The table.
    pub table: TableName,
    /// For whom it would be exported.
    pub tenant: Tenant,
    /// The rows of this range; `None`: of the last full day in UTC.
    pub window: Option<Window>,
    /// Whose rows are counted.
    pub sight: Sight,
    /// Whether rows are counted at all, which reads them.
    pub counted: bool,
}

/// What becomes of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Fate {
    /// Its values leave as they are.
    Kept,
    /// It leaves, and some of its values or all of them are changed.
    Changed,
    /// It does not leave.
    LeftOut,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kept => "kept",
            Self::Changed => "changed",
            Self::LeftOut => "left out",
        })
    }
}

/// One column, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedColumn {
    /// Its name.
    pub name: String,
    /// Its type; `None` for one that the warehouse lacks.
    pub sql_type: Option<String>,
    /// What becomes of it.
    pub fate: Fate,
    /// The rule that decided it.
    pub rule: String,
    /// What is done to its values, in this order.
    pub changes: Vec<String>,
}

/// One rule that holds rows back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedRule {
    /// The rule.
    pub rule: String,
    /// The rows that it lets through, in words.
    pub rows: String,
    /// Rows of the range that it holds back, whatever other rules say of them; `None` where that is not told.
    pub rows_held_back: Option<i64>,
}

/// Rows of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Rows in the range.
    pub in_window: i64,
    /// Those of them that would be exported.
    pub exported: i64,
    /// Rows whose time is NULL or infinite: they belong to no range and are never exported. `None` for a table without
    /// a time column.
    pub timeless: Option<i64>,
}

/// Why the table would not be exported as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The stable code that the export would fail with.
    pub code: String,
    /// For the reader.
    pub message: String,
}

/// The form of a table's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ExplainedFiles {
    /// The format.
    pub format: ExportFormat,
    /// The compression.
    pub compression: Compression,
}

/// What the rules do to one table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The table.
    pub table: TableName,
    /// For whom it would be exported.
    pub tenant: Tenant,
    /// The range that was looked at; `None` for a table without a time column, which is looked at whole.
    pub window: Option<Window>,
    /// How often the rules had changed.
    pub rules_revision: i64,
    /// Equal policies have equal hashes; `None` where no column may leave.
    pub policy_hash: Option<String>,
    /// Why nothing would be exported as it stands; what follows then is what would be without that.
    pub refused: Option<Refused>,
    /// The columns, in the warehouse's order.
    pub columns: Vec<ExplainedColumn>,
    /// The rows that may leave, in words.
    pub rows: String,
    /// The rules that hold rows back.
    pub row_rules: Vec<ExplainedRule>,
    /// How many rows that is; `None` where they were not counted.
    pub counts: Option<Counts>,
    /// Where warehouse and rules have come apart.
    pub drift: Vec<ColumnDrift>,
    /// What its files are where a request does not say it.
    pub files: ExplainedFiles,
    /// What should be looked at.
    pub warnings: Vec<String>,
}

impl Explainer {
    /// Over these rules and this warehouse; without one, everything is answered with `SETTINGS_INVALID`.
    /// `pseudonyms`: whether those who export have a key for them.
    pub fn new(rules: RuleStore, warehouse: Option<Arc<dyn Warehouse>>, pseudonyms: bool) -> Self {
        Self { rules, warehouse, pseudonyms }
    }

    /// The warehouse, where this process has one.
    fn warehouse(&self) -> Result<&dyn Warehouse, Failure> {
        self.warehouse.as_deref().ok_or_else(|| {
            Failure::new(
                ErrorCode::SettingsInvalid,
                "this process knows no warehouse, so it cannot look at the tables; set EXPORTER_WAREHOUSE_URL for it",
            )
        })
    }

    /// The columns of a table as they are now.
    ///
    /// # Errors
    /// `TABLE_NOT_FOUND`, and the warehouse's own.
    pub async fn columns(&self, table: &TableName) -> Result<Vec<CatalogColumn>, Failure> {
        let warehouse = self.warehouse()?;
        // A pool would try a refused connection again and again until its time is up.
        warehouse.check().await?;
        let found = warehouse.catalog(std::slice::from_ref(table)).await?;
        found.into_iter().next().map(catalog_of).ok_or_else(|| not_in_warehouse(table))
    }

    /// The drift of every enabled table, by table. A table that the warehouse lacks has lost all its columns.
    ///
    /// # Errors
    /// `WAREHOUSE_…` when the warehouse does not answer, `RULES_INVALID`, `METADATA_UNAVAILABLE`.
    pub async fn drift(&self) -> Result<Vec<ColumnDrift>, Failure> {
        let state = self.state().await?;
        Ok(state.drift().into_iter().flat_map(|(_, drift)| drift.columns().to_vec()).collect())
    }

    /// What the rules do to one table.
    ///
    /// # Errors
    /// `TABLE_NOT_OFFERED` for a table that no rule names or that is not this tenant's, `TABLE_NOT_FOUND`,
    /// `RULES_INVALID`, and the warehouse's own, among them `WAREHOUSE_TIMEOUT` when counting takes too long.
    pub async fn explain(&self, question: &Question) -> Result<Explanation, Failure> {
        let observed = self.rules.observed().await?;
        let rules = self.rules.load().await?;
        let table = &question.table;
        let unknown = || refusal(&PolicyError::TableUnknown { table: table.clone() });
        let row = rules.set.table(table).ok_or_else(unknown)?.clone();
        let catalog = self.columns(table).await?;
        let drift = TableDrift::of(&rules.set, table, &catalog, &observed);
        let compiled = Compiled::of(&rules, &row, &catalog, &question.tenant, self.pseudonyms, &drift)?;
        let window = row.time_column.as_ref().map(|_| question.window.unwrap_or_else(|| last_day(&rules)));
        let form = FileChoice::default().form(FileChoice::of(&row))?;
        let files = ExplainedFiles { format: form.format, compression: form.compression };
        let mut explanation = compiled.explain(question, &rules, &catalog, window, files);
        explanation.drift = drift.columns().to_vec();
        if question.counted {
            self.count(question, &row, &compiled, &mut explanation).await?;
        }
        Ok(explanation)
    }

    async fn count(
        &self,
        question: &Question,
        row: &ExportTable,
        compiled: &Compiled,
        explanation: &mut Explanation,
    ) -> Result<(), Failure> {
        let table = &question.table;
        let own = own_rows(row, &question.tenant);
        let within = match (question.sight, &own) {
            (Sight::OwnRows, Some(own)) => own.clone(),
            _ => Predicate::Always,
        };
        let (rows, rules) = match &compiled.policy {
            Some(policy) => (policy.rows.clone(), policy.row_rules.as_slice()),
            None => (Predicate::Never, &[][..]),
        };
        let both = |rows: &Predicate| Predicate::All(vec![within.clone(), rows.clone()]).normalised();
        let mut conditions = vec![within.clone(), both(&rows)];
        conditions.extend(rules.iter().map(|rule| both(&rule.rows)));
        let slice = slice(row, explanation.window);
        let warehouse = self.warehouse()?;
        let counted = warehouse.count(table, slice.as_ref(), &conditions).await?;
        let [in_window, exported, admitted @ ..] = counted.as_slice() else {
            return Err(Failure::new(ErrorCode::Internal, "fewer counts than conditions"));
        };
        for ((rule, admitted), explained) in rules.iter().zip(admitted).zip(&mut explanation.row_rules) {
            // Within its own rows a tenant's rule holds nothing back; how much others have is not for it to know.
            let told = question.sight == Sight::Everything || own.as_ref() != Some(&rule.rows);
            explained.rows_held_back = told.then_some(in_window - admitted);
        }
        let timeless = match &slice {
            Some(slice) => Some(warehouse.count_timeless(table, slice, &within).await?),
            None => None,
        };
        explanation.counts = Some(Counts { in_window: *in_window, exported: *exported, timeless });
        Ok(())
    }

    /// Rules and catalog of all enabled tables.
    async fn state(&self) -> Result<State, Failure> {
        let observed = self.rules.observed().await?;
        let rules = self.rules.load().await?;
        let names: Vec<TableName> =
            rules.set.tables().filter(|row| row.enabled).map(|row| row.table_name.clone()).collect();
        let warehouse = self.warehouse()?;
        warehouse.check().await?;
        let shapes = warehouse.catalog(&names).await?;
        let found = shapes.into_iter().map(|shape| (shape.table.clone(), catalog_of(shape))).collect::<Vec<_>>();
        let tables = names
            .into_iter()
            .map(|name| {
                let catalog = found.iter().find(|(table, _)| *table == name).map(|(_, catalog)| catalog.clone());
                (name, catalog)
            })
            .collect();
        Ok(State { rules, observed, tables })
    }
}

/// Rules, and the enabled tables with their columns; `None` for one that the warehouse lacks.
struct State {
    rules: Rules,
    observed: Observed,
    tables: Vec<(TableName, Option<Vec<CatalogColumn>>)>,
}

impl State {
    fn drift(&self) -> Vec<(&TableName, TableDrift)> {
        let columns = |catalog: &Option<Vec<CatalogColumn>>| catalog.clone().unwrap_or_default();
        self.tables
            .iter()
            .map(|(table, catalog)| (table, TableDrift::of(&self.rules.set, table, &columns(catalog), &self.observed)))
            .collect()
    }
}

/// A policy, or why there is none, for a table that may be refused as it stands.
struct Compiled {
    policy: Option<Policy>,
    decisions: Vec<Decision>,
    refused: Option<Failure>,
}

impl Compiled {
    /// Compiles what would leave; where only the table as a whole is refused, what would leave without that.
    fn of(
        rules: &Rules,
        row: &ExportTable,
        catalog: &[CatalogColumn],
        tenant: &Tenant,
        pseudonyms: bool,
        drift: &TableDrift,
    ) -> Result<Self, Failure> {
        let table = &row.table_name;
        let context = context(rules, tenant, pseudonyms);
        let compile = |set: &RuleSet| Policy::compile(set, table, catalog, context);
        let (outcome, refused) = match compile(&rules.set) {
            Err(error @ (PolicyError::TableDisabled { .. } | PolicyError::Unclassified { .. })) => {
                (compile(&admitted(&rules.set, table)?), Some(refusal(&error)))
            }
            outcome => (outcome, None),
        };
        match outcome {
            Ok(policy) => {
                let refused = refused.or_else(|| drift.refuse(&policy).err());
                Ok(Self { decisions: policy.decisions.clone(), policy: Some(policy), refused })
            }
            Err(error) => {
                let failure = refusal(&error);
                let PolicyError::NothingExportable { decisions, .. } = error else { return Err(failure) };
                Ok(Self { policy: None, decisions, refused: refused.or(Some(failure)) })
            }
        }
    }

    fn explain(
        &self,
        question: &Question,
        rules: &Rules,
        catalog: &[CatalogColumn],
        window: Option<Window>,
        files: ExplainedFiles,
    ) -> Explanation {
        let columns = self.decisions.iter().map(|decision| {
            let leaving = self.policy.iter().flat_map(|policy| &policy.columns).find(|it| it.name == decision.column);
            let found = catalog.iter().find(|column| column.name == decision.column);
            let changes = leaving.map(changes).unwrap_or_default();
            ExplainedColumn {
                name: decision.column.clone(),
                sql_type: found.map(|column| column.sql_type.clone()),
                fate: match (decision.outcome, leaving) {
                    (Outcome::LeftOut, _) | (_, None) => Fate::LeftOut,
                    _ if changes.is_empty() => Fate::Kept,
                    _ => Fate::Changed,
                },
                rule: decision.rule.clone(),
                changes,
            }
        });
        let row_rules = self.policy.iter().flat_map(|policy| &policy.row_rules).map(|rule| ExplainedRule {
            rule: rule.rule.clone(),
            rows: rule.rows.to_string(),
            rows_held_back: None,
        });
        let rows = self.policy.as_ref().map_or(Predicate::Never, |policy| policy.rows.clone());
        Explanation {
            table: question.table.clone(),
            tenant: question.tenant.clone(),
            window,
            rules_revision: rules.revision,
            policy_hash: self.policy.as_ref().map(|policy| policy.hash.clone()),
            refused: self
                .refused
                .as_ref()
                .map(|failure| Refused { code: failure.code.to_string(), message: failure.message.clone() }),
            columns: columns.collect(),
            rows: rows.to_string(),
            row_rules: row_rules.collect(),
            counts: None,
            drift: Vec::new(),
            files,
            warnings: self.policy.as_ref().map(|policy| policy.warnings.clone()).unwrap_or_default(),
        }
    }
}

/// For whom and when a policy is compiled.
fn context<'a>(rules: &Rules, tenant: &'a Tenant, pseudonyms: bool) -> PolicyContext<'a> {
    PolicyContext { today: rules.today, tenant: Whose::One(tenant.as_str()), pseudonyms }
}

/// What is done to the values of a column that leaves.
fn changes(column: &PolicyColumn) -> Vec<String> {
    let mut changes = Vec::new();
    if column.cell != Predicate::Always {
        changes.push(format!("NULL unless {}", column.cell));
    }
    changes.extend(column.care.iter().map(|care| match &care.when {
        Predicate::Always => care.action.to_string(),
        when => format!("{} where {when}", care.action),
    }));
    if column.scan {
        changes.push("personal data that is found in it is removed".to_owned());
    }
    changes
}

/// The same rules with this table enabled and not strict.
fn admitted(rules: &RuleSet, table: &TableName) -> Result<RuleSet, Failure> {
    let mut rows = rules.rows();
    for row in rows.export_tables.iter_mut().filter(|row| row.table_name == *table) {
        row.enabled = true;
        row.strict = false;
    }
    Ok(RuleSet::from_rows(rows).map_err(RulesError::from)?)
}

/// The rows of a tenant; `None` for a table that does not tell tenants apart.
fn own_rows(row: &ExportTable, tenant: &Tenant) -> Option<Predicate> {
    row.tenant_column.as_ref().map(|column| Predicate::one_of(column, [tenant.as_str()]))
}

/// The last day that is over, in UTC by the database's clock.
fn last_day(rules: &Rules) -> Window {
    let midnight = |day: chrono::NaiveDate| -> DateTime<Utc> { day.and_time(NaiveTime::MIN).and_utc() };
    Window {
        start: midnight(rules.today.checked_sub_days(Days::new(1)).unwrap_or(rules.today)),
        end: midnight(rules.today),
    }
}

fn slice(row: &ExportTable, window: Option<Window>) -> Option<TimeSlice> {
    let (column, window) = (row.time_column.clone()?, window?);
    let (unit, zone) = (row.time_unit.into(), row.time_zone.clone());
    Some(TimeSlice { column, unit, zone, start: window.start, end: window.end })
}

fn catalog_of(shape: TableShape) -> Vec<CatalogColumn> {
    shape.columns.into_iter().map(|column| column.catalog).collect()
}

fn not_in_warehouse(table: &TableName) -> Failure {
    crate::warehouse::WarehouseError::TableNotFound { table: table.clone() }.into()
}
