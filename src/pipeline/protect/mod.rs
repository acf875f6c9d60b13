//! What the policy does to batches between reading and encoding: the second line behind the query's conditions, the
//! actions of `hwc`, and the search for personal data. Everything works on whole arrays; a column that nothing
//! happens to is passed on without a copy.
//!
//! A policy that cannot be carried out to the letter is refused when it is compiled, before anything leaves.

mod act;
mod days;
mod guards;
mod pseudonyms;
mod rows;
mod search;
mod seen;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Date32Type, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use classification::actions::{Action, Pseudonymiser};
use classification::pii::{PiiRules, Protector};
use classification::{ColumnKind, Policy, PolicyColumn, RowRule, TableName};

use self::act::{Act, Beside, Refused};
use self::days::Days;
use self::rows::{Conditions, Rows};
use self::search::Search;
use crate::error::{ErrorCode, Failure};
use crate::jobs::FileReport;
use crate::warehouse::{ColumnOptions, GeometryForm, Guard, ScanSpec};

pub use guards::guards;

/// The key under which a field lists the labels of an enumerated type.
const ENUM_LABELS: &str = "enum_labels";

/// A policy as it is carried out on the batches of one scan. Keeps count of what it did.
#[derive(Debug)]
pub struct Protection {
    table: TableName,
    /// Of the batches that come in.
    reads: SchemaRef,
    /// Of those that leave.
    yields: SchemaRef,
    conditions: Conditions,
    /// The condition of every row.
    rows: usize,
    row_rules: Vec<RowRule>,
    /// Where the text of a column is.
    texts: Vec<(String, usize)>,
    day: Option<usize>,
    columns: Vec<Column>,
    protector: Option<Protector>,
    pseudonyms: Option<Pseudonymiser>,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// The condition of its cells, unless every row meets it.
    cell: Option<usize>,
    acts: Vec<Act>,
    concerned: u64,
    search: Option<Search>,
}

impl Protection {
    /// Compiles a policy for the batches of a scan that was planned under it. `schema` is the stream's: the policy's
    /// columns, then the scan's guards.
    ///
    /// # Errors
    /// `TYPE_UNSUPPORTED` for an action or a search that a column's type does not allow, `RULES_INVALID` for PII
    /// rules that do not hold, `PSEUDONYM_KEY_MISSING`, and `INTERNAL` where scan and policy do not belong together.
    pub fn compile(
        policy: &Policy,
        scan: &ScanSpec,
        schema: &SchemaRef,
        pseudonyms: Option<&Pseudonymiser>,
    ) -> Result<Self, Failure> {
        let fits = policy.table == scan.table
            && schema.fields().len() == policy.columns.len() + scan.guards.len()
            && schema.fields().iter().zip(&policy.columns).all(|(field, column)| *field.name() == column.name)
            && schema.fields().iter().skip(policy.columns.len()).zip(&scan.guards).all(|(f, g)| **f == g.field());
        if !fits {
            return Err(another_version(&policy.table));
        }
        let mut texts = guards::as_exported(policy, &scan.options);
        let mut day = None;
        for (place, guard) in (policy.columns.len()..).zip(&scan.guards) {
            match guard {
                Guard::Text(column) => drop(texts.insert(column, place)),
                Guard::Day => day = Some(place),
            }
        }
        if texts.values().any(|&place| *schema.field(place).data_type() != DataType::Utf8) {
            return Err(another_version(&policy.table));
        }
        let options = &scan.options;
        let mut compiler = Compiler { policy, options, texts, conditions: Conditions::default(), pseudonyms, day };
        let rows = compiler.condition(&policy.rows)?;
        let columns: Vec<Column> =
            policy.columns.iter().zip(schema.fields()).map(|pair| compiler.column(pair)).collect::<Result<_, _>>()?;
        let fields = columns.iter().zip(schema.fields()).map(|(column, field)| yielded(column, field));
        let yields = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let searches = columns.iter().any(|column| column.search.is_some());
        let protector = if searches { Some(protector(policy, pseudonyms)?) } else { None };
        let Compiler { texts, conditions, .. } = compiler;
        Ok(Self {
            table: policy.table.clone(),
            reads: Arc::clone(schema),
            yields,
            conditions,
            rows,
            row_rules: policy.row_rules.clone(),
            texts: texts.into_iter().map(|(column, place)| (column.to_owned(), place)).collect(),
            day,
            columns,
            protector,
            pseudonyms: pseudonyms.cloned(),
        })
    }

    /// The schema of what leaves: the policy's columns and nothing else.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.yields)
    }

    /// Carries the policy out on a batch of the scan.
    ///
    /// # Errors
    /// `POLICY_BREACH` when the batch holds a row or a cell that the policy does not let through, `INTERNAL` for a
    /// batch of another scan, `VALUE_UNREPRESENTABLE` when changed values do not fit into a batch.
    pub fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch, Failure> {
        if batch.schema_ref() != &self.reads {
            return Err(another_version(&self.table));
        }
        let decided = self.conditions.decide(batch);
        self.check(batch, &decided)?;
        let days = Days::new(self.day.map(|place| batch.column(place).as_primitive::<Date32Type>()));
        let beside = Beside { pseudonyms: self.pseudonyms.as_ref(), days: &days };
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            let protector = self.protector.as_ref();
            let changed = column.protect(array, &decided, &beside, protector).map_err(|text::TooLong| {
                let (column, table) = (&column.name, &self.table);
                let why = format!("the changed values of column '{column}' of '{table}' are over 2 GiB in one batch");
                Failure::new(ErrorCode::ValueUnrepresentable, why)
            })?;
            arrays.push(changed);
        }
        RecordBatch::try_new(self.schema(), arrays)
            .map_err(|_| Failure::new(ErrorCode::Internal, "protected columns do not make a batch"))
    }

    /// What was done so far.
    pub fn report(&self) -> FileReport {
        let mut report = FileReport::default();
        for column in &self.columns {
            if column.concerned > 0 {
                report.actions.insert(column.name.clone(), column.concerned);
            }
            if let Some(search) = column.search.as_ref().filter(|search| !search.removed().is_empty()) {
                report.removed.insert(column.name.clone(), search.removed().counts().clone());
            }
        }
        report
    }

    /// The second line: what the query was to hold back must not be here.
    fn check(&self, batch: &RecordBatch, decided: &[Rows]) -> Result<(), Failure> {
        let rows = &decided[self.rows];
        if !matches!(rows, Rows::All)
            && let Some(row) = (0..batch.num_rows()).find(|&row| !rows.has(row))
        {
            metrics::counter!("exporter_policy_breaches_total", "table" => self.table.to_string(), "column" => "")
                .increment(1);
            let text = |name: &str| {
                let place = self.texts.iter().find(|(column, _)| column == name)?.1;
                let array = batch.column(place).as_string::<i32>();
                array.is_valid(row).then(|| array.value(row))
            };
            let rule = self.row_rules.iter().find(|rule| !rule.rows.admits(&text));
            let rule = rule.map_or("the policy's row condition", |rule| rule.rule.as_str());
            return Err(self.breach(&format!("a row that is held back by the rule '{rule}'")));
        }
        for (column, array) in self.columns.iter().zip(batch.columns()) {
            let Some(cell) = column.cell else { continue };
            let denied = !&decided[cell].bits(array.len());
            let there = match array.nulls() {
                Some(nulls) => (&denied & nulls.inner()).count_set_bits(),
                None => denied.count_set_bits(),
            };
            if there > 0 {
                let name = column.name.clone();
                metrics::counter!("exporter_policy_breaches_total", "table" => self.table.to_string(), "column" => name)
                    .increment(1);
                return Err(self.breach(&format!(
                    "a value of column '{}' in a row whose source may not have one (denied_cell: null_cell)",
                    column.name
                )));
            }
        }
        Ok(())
    }

    fn breach(&self, what: &str) -> Failure {
        Failure::new(
            ErrorCode::PolicyBreach,
            format!(
                "the warehouse sent {what}, though the query for '{}' excludes it; nothing of the table was published. \
                 Look for a view or type that changes while it is read, and report it: the two must agree",
                self.table
            ),
        )
    }
}

impl Column {
    fn protect(
        &mut self,
        array: &ArrayRef,
        decided: &[Rows],
        beside: &Beside<'_>,
        protector: Option<&Protector>,
    ) -> Result<ArrayRef, text::TooLong> {
        let mut array = Arc::clone(array);
        for act in &mut self.acts {
            let concerned;
            (array, concerned) = act.run(&array, &decided[act.when], beside)?;
            self.concerned += concerned;
        }
        match (&mut self.search, protector) {
            (Some(search), Some(protector)) => search.run(protector, &array),
            _ => Ok(array),
        }
    }
}

/// What compiling columns needs.
struct Compiler<'a> {
    policy: &'a Policy,
    options: &'a BTreeMap<String, ColumnOptions>,
    texts: BTreeMap<&'a str, usize>,
    conditions: Conditions,
    pseudonyms: Option<&'a Pseudonymiser>,
    day: Option<usize>,
}

impl Compiler<'_> {
    fn condition(&mut self, predicate: &classification::Predicate) -> Result<usize, Failure> {
        self.conditions.add(predicate, &self.texts).map_err(|_| another_version(&self.policy.table))
    }

    fn column(&mut self, (column, field): (&PolicyColumn, &FieldRef)) -> Result<Column, Failure> {
        let mut acts = Vec::with_capacity(column.care.len());
        for care in &column.care {
            let when = self.condition(&care.when)?;
            let act = Act::new(column, &care.action, when, field.data_type(), self.pseudonyms.is_some());
            acts.push(act.map_err(|refused| self.refused(column, &care.action, &refused))?);
        }
        if guards::needs_day(column) && self.day.is_none() {
            return Err(another_version(&self.policy.table));
        }
        let searched = column.scan && !self.only_coordinates(&column.name, field);
        if searched && *field.data_type() != DataType::Utf8 {
            return Err(Failure::new(
                ErrorCode::TypeUnsupported,
                format!(
                    "column '{}' of '{}' has type {}, which cannot be searched for personal data; attest it as exempt \
                     or classify it 'de'",
                    column.name, self.policy.table, column.sql_type
                ),
            ));
        }
        let cell = match &column.cell {
            classification::Predicate::Always => None,
            cell => Some(self.condition(cell)?),
        };
        let search = searched.then(|| Search::new(column.kind == ColumnKind::Json));
        Ok(Column { name: column.name.clone(), cell, acts, concerned: 0, search })
    }

    /// Whether a column of text leaves as well-known binary. It is made of coordinates that were read from the text, and
    /// nothing else of it is left; numbers are not searched elsewhere either. The gate looks whether it is so.
    fn only_coordinates(&self, name: &str, field: &FieldRef) -> bool {
        let form = self.options.get(name).and_then(|options| options.geometry);
        form == Some(GeometryForm::Wkb) && *field.data_type() == DataType::Binary
    }

    fn refused(&self, column: &PolicyColumn, action: &Action, refused: &Refused) -> Failure {
        let (name, table, sql_type) = (&column.name, &self.policy.table, &column.sql_type);
        match refused {
            Refused::Key => key_missing(&format!("column '{name}' of '{table}' leaves as pseudonyms")),
            Refused::Type => Failure::new(
                ErrorCode::TypeUnsupported,
                format!(
                    "'{action}' cannot be carried out on column '{name}' of '{table}', which has type {sql_type}; \
                     choose another action in column_restrictions or classify the column 'de'"
                ),
            ),
        }
    }
}

/// A column's field as it leaves: values that are redacted are none of the type's labels any more.
fn yielded(column: &Column, field: &FieldRef) -> FieldRef {
    if column.acts.is_empty() || !field.metadata().contains_key(ENUM_LABELS) {
        return Arc::clone(field);
    }
    let mut metadata = field.metadata().clone();
    metadata.remove(ENUM_LABELS);
    Arc::new(field.as_ref().clone().with_metadata(metadata))
}

fn protector(policy: &Policy, pseudonyms: Option<&Pseudonymiser>) -> Result<Protector, Failure> {
    let rules = PiiRules::parse("pii.toml", &policy.pii_rules).map_err(|error| {
        Failure::new(ErrorCode::RulesInvalid, format!("the PII rules of '{}' do not hold: {error}", policy.table))
    })?;
    Protector::new(rules, pseudonyms.cloned())
        .map_err(|_| key_missing(&format!("the PII rules put pseudonyms into columns of '{}'", policy.table)))
}

fn key_missing(what: &str) -> Failure {
    Failure::new(
        ErrorCode::PseudonymKeyMissing,
        format!(
            "{what}, and this process has no key for them; set EXPORTER_PSEUDONYM_KEY_FILE for every process that \
             works, with the same key"
        ),
    )
}

fn another_version(table: &TableName) -> Failure {
    Failure::new(
        ErrorCode::Internal,
        format!("the scan of '{table}' and its policy do not belong together; request the table again"),
    )
}
