//! The rules of a day as Parquet, one file a table: why the day's files have their shape.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use chrono::NaiveDate;
use classification::RuleSet;
use classification::rules::RuleTable;
use serde_json::Value;

use super::super::encode::Encoder;
use super::super::encode::parquet::{ParquetEncoder, ParquetOptions};
use crate::error::{ErrorCode, Failure};

/// A table of the rules as a Parquet file, with the columns of its CSV: yes and no as booleans, dates as dates,
/// parameters as JSON text, everything else as text. `revision` goes into the footer. The same rules give the same bytes.
///
/// # Errors
/// `INTERNAL`: rules always fit.
pub(super) fn parquet(rules: &RuleSet, table: RuleTable, revision: i64) -> Result<Bytes, Failure> {
    written(rules, table, revision)
        .ok_or_else(|| Failure::new(ErrorCode::Internal, format!("the rules of {} cannot be written", table.name())))
}

fn written(rules: &RuleSet, table: RuleTable, revision: i64) -> Option<Bytes> {
    let all = serde_json::to_value(rules.rows()).ok()?;
    let rows = all.get(table.name())?.as_array()?;
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) =
        table.columns().iter().map(|name| column(name, rows.iter().map(|row| &row[*name]))).unzip();
    let schema = Arc::new(Schema::new(fields));
    let metadata = vec![("rules_revision".to_owned(), revision.to_string())];
    let mut encoder = Box::new(
        ParquetEncoder::new(Arc::clone(&schema), ParquetOptions { metadata, ..ParquetOptions::default() }).ok()?,
    );
    if !rows.is_empty() {
        encoder.write(&RecordBatch::try_new(schema, arrays).ok()?).ok()?;
    }
    let mut pieces = encoder.drain();
    pieces.extend(encoder.finish().ok()?.bytes);
    Some(pieces.concat().into())
}

fn column<'v>(name: &str, values: impl Iterator<Item = &'v Value>) -> (Field, ArrayRef) {
    let array: ArrayRef = match name {
        "enabled" | "on_demand" | "scheduled" | "strict" => {
            Arc::new(values.map(Value::as_bool).collect::<BooleanArray>())
        }
        "pii_exempt_until" | "expires_at" => {
            Arc::new(values.map(|value| value.as_str().and_then(days)).collect::<Date32Array>())
        }
        _ => Arc::new(values.map(text).collect::<StringArray>()),
    };
    (Field::new(name, array.data_type().clone(), true), array)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Days since 1970-01-01.
fn days(date: &str) -> Option<i32> {
    let date: NaiveDate = date.parse().ok()?;
    i32::try_from((date - NaiveDate::default()).num_days()).ok()
}
