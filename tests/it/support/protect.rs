//! Policies made by hand, carried out on scans of a real PostgreSQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use classification::actions::{Action, Pseudonymiser};
use classification::rules::TypeProfile;
use classification::{Care, Policy, PolicyColumn, Predicate, RowRule};
use data_exporter::error::Failure;
use data_exporter::jobs::FileReport;
use data_exporter::pipeline::protect::{Protection, guards};
use data_exporter::warehouse::{ScanSpec, TimeSlice, Warehouse};

use super::warehouse::{TestWarehouse, context};

/// The key of every test.
pub(crate) const KEY: &[u8] = b"a key for tests, of 32 bytes or more";

/// Pseudonyms under that key.
pub(crate) fn key() -> Pseudonymiser {
    Pseudonymiser::new(KEY).unwrap()
}

/// Rows whose column is one of these.
pub(crate) fn one_of(column: &str, values: &[&str]) -> Predicate {
    Predicate::In { column: column.to_owned(), values: values.iter().map(|&value| value.to_owned()).collect() }
}

/// A policy that grants every column and row of a table.
pub(crate) async fn grant_all(test: &TestWarehouse, table: &str) -> Policy {
    let scan = test.whole(table).await;
    Policy {
        table: scan.table,
        columns: scan.columns,
        rows: Predicate::Always,
        row_rules: Vec::new(),
        warnings: Vec::new(),
        pii_rules: String::new(),
        decisions: Vec::new(),
        hash: "0".repeat(64),
    }
}

/// The column of a policy.
pub(crate) fn column<'a>(policy: &'a mut Policy, name: &str) -> &'a mut PolicyColumn {
    policy.columns.iter_mut().find(|column| column.name == name).unwrap_or_else(|| panic!("no column {name}"))
}

/// Adds an action to a column.
pub(crate) fn care(policy: &mut Policy, name: &str, when: Predicate, action: Action) {
    column(policy, name).care.push(Care { when, action });
}

/// Restricts the rows by a rule.
pub(crate) fn hold_back(policy: &mut Policy, rule: &str, rows: Predicate) {
    policy.row_rules.push(RowRule { rule: rule.to_owned(), rows });
    let all = policy.row_rules.iter().map(|rule| rule.rows.clone()).collect();
    policy.rows = Predicate::All(all).normalised();
}

/// The scan that a policy asks for.
pub(crate) fn scan(policy: &Policy, slice: Option<TimeSlice>) -> Result<ScanSpec, Failure> {
    Ok(ScanSpec {
        table: policy.table.clone(),
        columns: policy.columns.clone(),
        rows: policy.rows.clone(),
        guards: guards(policy, slice.as_ref(), &BTreeMap::new())?,
        slice,
        type_profile: TypeProfile::Portable,
        options: BTreeMap::new(),
    })
}

/// What leaves of a scan under a policy, and what was done to it.
pub(crate) async fn protect_scan(
    test: &TestWarehouse,
    policy: &Policy,
    scan: &ScanSpec,
    key: Option<&Pseudonymiser>,
) -> Result<(RecordBatch, FileReport), Failure> {
    let mut stream = test.warehouse.scan(scan, &context("data-exporter test")).await?;
    let mut protection = Protection::compile(policy, scan, &stream.schema(), key)?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await? {
        batches.push(protection.apply(&batch)?);
    }
    let names: Vec<&str> = policy.columns.iter().map(|column| column.name.as_str()).collect();
    let schema = protection.schema();
    assert_eq!(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), names);
    Ok((concat_batches(&schema, &batches).unwrap(), protection.report()))
}

/// What leaves of a table under a policy, and what was done to it.
pub(crate) async fn protect(test: &TestWarehouse, policy: &Policy) -> Result<(RecordBatch, FileReport), Failure> {
    protect_scan(test, policy, &scan(policy, None)?, Some(&key())).await
}

/// A column's values as text; `None` is NULL.
pub(crate) fn texts(array: &ArrayRef) -> Vec<Option<String>> {
    // Zones by name are written by nobody here: the instant in UTC says the same.
    let array = match array.data_type() {
        DataType::Timestamp(_, Some(_)) => {
            Arc::new(array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(None::<&str>))
        }
        _ => Arc::clone(array),
    };
    let format = ArrayFormatter::try_new(array.as_ref(), &FormatOptions::default()).unwrap();
    (0..array.len()).map(|row| array.is_valid(row).then(|| format.value(row).to_string())).collect()
}

/// As [`texts`], of a column of a batch by its name.
pub(crate) fn texts_of(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    texts(batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}")))
}
