//! Values as every reader can say them: texts of leaves, in lists and objects where they are nested.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow::record_batch::RecordBatch;
use serde_json::Value;

/// A value of an array: NULL, the text of a leaf (floats as their bits, moments as microseconds, days as days, bytes in
/// hex), a list of such, or an object.
pub(crate) fn value(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    let text = match array.data_type() {
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).to_bits().to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_bits().to_string(),
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        DataType::Time64(_) => array.as_primitive::<Time64MicrosecondType>().value(row).to_string(),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(_) => hex(array.as_fixed_size_binary().value(row)),
        DataType::List(_) => return list(&array.as_list::<i32>().value(row)),
        DataType::Struct(fields) => {
            let parts = array.as_struct();
            let pairs = fields.iter().zip(parts.columns());
            return Value::Object(pairs.map(|(field, part)| (field.name().clone(), value(part, row))).collect());
        }
        DataType::Map(..) => {
            let pairs = array.as_map().value(row);
            let (keys, values) = (pairs.column(0).as_string::<i32>(), pairs.column(1));
            return Value::Object((0..pairs.len()).map(|at| (keys.value(at).to_owned(), value(values, at))).collect());
        }
        other => panic!("no text for {other}"),
    };
    Value::String(text)
}

fn list(items: &dyn Array) -> Value {
    Value::Array((0..items.len()).map(|at| value(items, at)).collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A column of all batches.
pub(crate) fn column(batches: &[RecordBatch], column: usize) -> Vec<Value> {
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| value(batch.column(column), row))).collect()
}

/// What the server says of a value of this type: JSON where it is nested, and otherwise the text. Floats by their
/// bits, since several texts mean one float.
pub(crate) fn said(data_type: &DataType, text: Option<String>) -> Value {
    let Some(text) = text else { return Value::Null };
    match data_type {
        DataType::Float32 => text.parse::<f32>().unwrap().to_bits().to_string().into(),
        DataType::Float64 => text.parse::<f64>().unwrap().to_bits().to_string().into(),
        nested if nested.is_nested() => leaves(nested, serde_json::from_str(&text).unwrap()),
        _ => text.into(),
    }
}

fn leaves(data_type: &DataType, found: Value) -> Value {
    match (data_type, found) {
        (DataType::List(item), Value::Array(items)) => {
            items.into_iter().map(|found| leaves(item.data_type(), found)).collect()
        }
        (DataType::Struct(fields), Value::Object(mut found)) => {
            let pairs = fields.iter().map(|field| {
                let found = found.remove(field.name()).unwrap_or_default();
                (field.name().clone(), leaves(field.data_type(), found))
            });
            Value::Object(pairs.collect())
        }
        (leaf, Value::String(text)) if !leaf.is_nested() => said(leaf, Some(text)),
        (_, found) => found,
    }
}
