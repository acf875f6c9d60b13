//! Checks rows by what is in the file: rows and cells that the policy does not admit, and cells that must be NULL.
//!
//! A condition on a column that is not in the file as the warehouse has it cannot be decided, and counts as met where
//! rows and cells are asked for, since conditions have no negation. A dictionary's values are compared once each.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::{and, cast, is_not_null, is_null, or, prep_null_mask_filter, take};
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use classification::actions::Action;
use classification::{ColumnKind, PolicyColumn, Predicate};

use super::super::plan::TablePlan;

/// What a policy asks of every row of its files.
#[derive(Debug)]
pub(super) struct RowChecks {
    /// The conjuncts of the policy's row condition.
    rows: Vec<Predicate>,
    /// The columns that are in the file.
    columns: Vec<PolicyColumn>,
    /// Those that are written otherwise than the warehouse has them.
    changed: BTreeSet<String>,
}

/// What broke the policy: told with columns, never with values.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// Rows that these columns' rules do not admit.
    Rows(Vec<String>),
    /// Values of a column in rows where it must be NULL.
    Cells(String),
}

/// What a condition says of the rows of a batch.
enum Verdict {
    Every(bool),
    Each(BooleanArray),
}

impl RowChecks {
    /// What this plan's policy asks.
    pub(super) fn new(plan: &TablePlan) -> Self {
        let policy = &plan.policy;
        let rows = match policy.rows.clone().normalised() {
            Predicate::All(parts) => parts,
            other => vec![other],
        };
        Self { rows, columns: policy.columns.clone(), changed: plan.options.keys().cloned().collect() }
    }

    /// Names of the columns that must be read for the checks.
    pub(super) fn needed(&self) -> BTreeSet<&str> {
        let mut needed: BTreeSet<&str> = self.rows.iter().flat_map(Predicate::columns).collect();
        for column in &self.columns {
            let nulls = column.care.iter().filter(|care| care.action == Action::Null).map(|care| &care.when);
            for condition in nulls.chain(Some(&column.cell).filter(|cell| **cell != Predicate::Always)) {
                needed.insert(&column.name);
                needed.extend(condition.columns());
            }
        }
        let present = |name: &&str| self.columns.iter().any(|column| column.name == **name);
        needed.into_iter().filter(present).collect()
    }

    /// The first breach in a batch, if there is one.
    pub(super) fn check(&self, batch: &RecordBatch) -> Result<Option<Breach>, ArrowError> {
        for condition in &self.rows {
            let met = match self.verdict(condition, batch, true)? {
                Verdict::Every(met) => met || batch.num_rows() == 0,
                Verdict::Each(rows) => rows.true_count() == rows.len(),
            };
            if !met {
                return Ok(Some(Breach::Rows(condition.columns().into_iter().map(str::to_owned).collect())));
            }
        }
        for column in &self.columns {
            let nulls = column.care.iter().filter(|care| care.action == Action::Null).map(|care| &care.when);
            let mut broken = false;
            if column.cell != Predicate::Always {
                broken |= self.stands(column, batch, &self.verdict(&column.cell, batch, true)?, false)?;
            }
            for when in nulls {
                broken |= self.stands(column, batch, &self.verdict(when, batch, false)?, true)?;
            }
            if broken {
                return Ok(Some(Breach::Cells(column.name.clone())));
            }
        }
        Ok(None)
    }

    /// Whether the column has a value in any row for which the verdict is `wanted`.
    fn stands(
        &self,
        column: &PolicyColumn,
        batch: &RecordBatch,
        verdict: &Verdict,
        wanted: bool,
    ) -> Result<bool, ArrowError> {
        let Some(values) = batch.column_by_name(&column.name) else { return Ok(false) };
        let there = is_not_null(values.as_ref())?;
        Ok(match verdict {
            Verdict::Every(met) => *met == wanted && there.true_count() > 0,
            Verdict::Each(rows) if wanted => and(rows, &there)?.true_count() > 0,
            Verdict::Each(rows) => and(rows, &there)?.true_count() < there.true_count(),
        })
    }

    fn verdict(&self, condition: &Predicate, batch: &RecordBatch, unknown: bool) -> Result<Verdict, ArrowError> {
        match condition {
            Predicate::Always => Ok(Verdict::Every(true)),
            Predicate::Never => Ok(Verdict::Every(false)),
            Predicate::In { column, values } => self.one_of(column, values, batch, unknown),
            Predicate::All(parts) => self.fold(parts, batch, unknown, true),
            Predicate::Any(parts) => self.fold(parts, batch, unknown, false),
        }
    }

    /// All of these conditions (`all`), or at least one of them.
    fn fold(&self, parts: &[Predicate], batch: &RecordBatch, unknown: bool, all: bool) -> Result<Verdict, ArrowError> {
        let mut sum: Option<BooleanArray> = None;
        for part in parts {
            match self.verdict(part, batch, unknown)? {
                Verdict::Every(met) if met == all => {}
                Verdict::Every(met) => return Ok(Verdict::Every(met)),
                Verdict::Each(rows) => {
                    sum = Some(match sum {
                        None => rows,
                        Some(sum) if all => and(&sum, &rows)?,
                        Some(sum) => or(&sum, &rows)?,
                    });
                }
            }
        }
        Ok(sum.map_or(Verdict::Every(all), Verdict::Each))
    }

    fn one_of(
        &self,
        name: &str,
        allowed: &BTreeSet<String>,
        batch: &RecordBatch,
        unknown: bool,
    ) -> Result<Verdict, ArrowError> {
        let unchanged = |column: &&PolicyColumn| column.care.is_empty() && !self.changed.contains(name);
        let column = self.columns.iter().find(|column| column.name == name).filter(unchanged);
        let (Some(column), Some(values)) = (column, batch.column_by_name(name)) else {
            return Ok(Verdict::Every(unknown));
        };
        let Some(values) = as_text(column, values)? else { return Ok(Verdict::Every(unknown)) };
        // `char(n)` is sent with its padding, which its text has not; a domain's base is not in its name.
        let padded = !["text", "character varying"].iter().any(|exact| column.sql_type.starts_with(exact));
        let admitted = |value: &str| {
            let value = if padded { value.trim_end_matches(' ') } else { value };
            // A search for personal data leaves one of these where it changed anything.
            allowed.contains(value)
                || unknown && column.scan && value.contains(['<', '*'])
                // An address is sent without the length that its text has.
                || padded && ["/32", "/128"].iter().any(|length| allowed.contains(&format!("{value}{length}")))
        };
        let null = unknown && (column.scan || column.cell != Predicate::Always);
        let per_value =
            |texts: &StringArray| -> BooleanArray { texts.iter().map(|value| value.map(&admitted)).collect() };
        let rows = match values.as_dictionary_opt::<Int32Type>() {
            Some(dictionary) => {
                let verdicts = per_value(dictionary.values().as_string::<i32>());
                if verdicts.true_count() == verdicts.len() && (null || dictionary.keys().null_count() == 0) {
                    return Ok(Verdict::Every(true));
                }
                take(&verdicts, dictionary.keys(), None)?.as_boolean().clone()
            }
            None => per_value(values.as_string::<i32>()),
        };
        let met = if rows.null_count() == 0 { rows.clone() } else { prep_null_mask_filter(&rows) };
        Ok(Verdict::Each(if null { or(&met, &is_null(&rows)?)? } else { met }))
    }
}

/// A column as the warehouse writes its values as text; `None` for types whose text is not unique.
fn as_text(column: &PolicyColumn, values: &ArrayRef) -> Result<Option<ArrayRef>, ArrowError> {
    let text = matches!(column.kind, ColumnKind::Text | ColumnKind::Enum | ColumnKind::Uuid);
    let plain = matches!(column.kind, ColumnKind::Number | ColumnKind::Boolean);
    Ok(match values.data_type() {
        DataType::Utf8 if text => Some(Arc::clone(values)),
        DataType::Dictionary(_, inner) if text && **inner == DataType::Utf8 => Some(Arc::clone(values)),
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Boolean if plain => {
            Some(cast(values, &DataType::Utf8)?)
        }
        _ => None,
    })
}
