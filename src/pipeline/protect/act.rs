//! What `hwc` does to columns: actions on whole arrays, for the rows that a condition admits.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float32Array, Float64Array, NullBufferBuilder,
    PrimitiveArray, Scalar, StringArray, new_null_array,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use classification::actions::{
    Action, Pseudonymiser, TimePart, round_decimal, round_float, round_integer, round_number_text, trunc_days,
    trunc_micros,
};
use classification::{ColumnKind, PolicyColumn};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::days::Days;
use super::pseudonyms::Maker;
use super::rows::Rows;
use super::text::{Texts, TooLong};

/// An action on arrays of one type.
#[derive(Debug)]
pub(super) struct Act {
    /// The number of the condition whose rows it concerns.
    pub(super) when: usize,
    work: Work,
}

/// How an action is carried out.
#[derive(Debug)]
enum Work {
    Null,
    Text(Action),
    Pseudonyms(Of, Box<Maker>),
    Round(i8),
    Truncate(TimePart),
}

/// What pseudonyms stand for.
#[derive(Debug, Clone, Copy)]
enum Of {
    Texts,
    Uuids,
    Integers,
}

/// Why an action cannot be carried out on a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// It has no meaning for the type.
    Type,
    /// It needs a key.
    Key,
}

/// What actions need beside the values.
pub(super) struct Beside<'a> {
    /// Makes pseudonyms; without it they are NULL.
    pub(super) pseudonyms: Option<&'a Pseudonymiser>,
    /// The rows' days.
    pub(super) days: &'a Days<'a>,
}

impl Act {
    /// An action on a column of the policy that is read as this type.
    pub(super) fn new(
        column: &PolicyColumn,
        action: &Action,
        when: usize,
        data_type: &DataType,
        has_key: bool,
    ) -> Result<Self, Refused> {
        action.fits(column.kind, &column.sql_type).map_err(|_| Refused::Type)?;
        let text = *data_type == DataType::Utf8;
        let work = match action {
            Action::Null => Work::Null,
            Action::Pseudonym { domain, per_day } => {
                let of = match (column.kind, data_type) {
                    (ColumnKind::Uuid, DataType::Utf8) => Of::Uuids,
                    (ColumnKind::Text, DataType::Utf8) => Of::Texts,
                    (ColumnKind::Number, DataType::Int64) => Of::Integers,
                    _ => return Err(Refused::Type),
                };
                if !has_key {
                    return Err(Refused::Key);
                }
                Work::Pseudonyms(of, Box::new(Maker::new(domain, *per_day)))
            }
            Action::Redact
            | Action::MaskLast4
            | Action::Truncate { .. }
            | Action::NetworkPrefix { .. }
            | Action::RoundWkt { .. }
                if text && matches!(column.kind, ColumnKind::Text | ColumnKind::Enum) =>
            {
                Work::Text(action.clone())
            }
            Action::Round { decimals } => match data_type {
                DataType::Int16 | DataType::Int32 | DataType::Int64 if *decimals < 0 => Work::Round(*decimals),
                DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) | DataType::Utf8 => {
                    Work::Round(*decimals)
                }
                _ => return Err(Refused::Type),
            },
            Action::DateTrunc { part } => match data_type {
                DataType::Timestamp(TimeUnit::Microsecond, _) => Work::Truncate(*part),
                DataType::Date32 if part.is_days() => Work::Truncate(*part),
                _ => return Err(Refused::Type),
            },
            _ => return Err(Refused::Type),
        };
        Ok(Self { when, work })
    }

    /// Carries the action out on these rows of a column. Gives the column, and how many values it concerned.
    pub(super) fn run(
        &mut self,
        array: &ArrayRef,
        rows: &Rows,
        beside: &Beside<'_>,
    ) -> Result<(ArrayRef, u64), TooLong> {
        let bits = rows.bits(array.len());
        let concerned = match array.nulls() {
            Some(nulls) => (&bits & nulls.inner()).count_set_bits(),
            None => bits.count_set_bits(),
        };
        if concerned == 0 {
            return Ok((Arc::clone(array), 0));
        }
        let changed: ArrayRef = match &mut self.work {
            Work::Null => null(array, BooleanArray::new(bits, None)),
            Work::Text(action) => texts(array, rows, |_, text, out| {
                let changed = action.on_text(text, None, None);
                changed.map(|changed| out.extend_from_slice(changed.as_bytes())).is_some()
            })?,
            Work::Pseudonyms(Of::Texts, maker) => texts(array, rows, |row, text, out| {
                let made = maker.token(row, text.as_bytes(), beside);
                made.map(|made| out.extend_from_slice(&made.hex())).is_some()
            })?,
            Work::Pseudonyms(Of::Uuids, maker) => texts(array, rows, |row, text, out| {
                let value = Uuid::try_parse_ascii(text.as_bytes()).ok();
                let made = value.and_then(|value| maker.token(row, value.as_bytes(), beside));
                let mut buffer = [0; Hyphenated::LENGTH];
                let text = made.map(|made| Uuid::from_bytes(made.uuid()).hyphenated().encode_lower(&mut buffer));
                text.map(|text| out.extend_from_slice(text.as_bytes())).is_some()
            })?,
            Work::Pseudonyms(Of::Integers, maker) => {
                numbers::<Int64Type>(array, rows, |row, value| Some(maker.token_of(row, value, beside)?.integer()))
            }
            Work::Round(decimals) => round(array, rows, *decimals)?,
            Work::Truncate(part) => match array.data_type() {
                DataType::Date32 => numbers::<Date32Type>(array, rows, |_, days| trunc_days(days, *part)),
                _ => numbers::<TimestampMicrosecondType>(array, rows, |_, micros| trunc_micros(micros, *part)),
            },
        };
        Ok((changed, concerned as u64))
    }
}

/// NULL in these rows, and nothing of the values left behind it.
fn null(array: &ArrayRef, rows: BooleanArray) -> ArrayRef {
    let nothing = new_null_array(array.data_type(), 1);
    // Both sides have one type and the mask their length: there is nothing that could be refused but memory.
    zip(&rows, &Scalar::new(nothing), array).unwrap_or_else(|_| new_null_array(array.data_type(), array.len()))
}

/// Texts, some of them changed: `change` is shown a row and its text, writes what stands in its place, and says
/// whether anything does; otherwise it is NULL.
fn texts(
    array: &ArrayRef,
    rows: &Rows,
    mut change: impl FnMut(usize, &str, &mut Vec<u8>) -> bool,
) -> Result<ArrayRef, TooLong> {
    let array: &StringArray = array.as_string();
    let mut texts = Texts::like(array);
    let mut behind = 0;
    for row in (0..array.len()).filter(|&row| rows.has(row)) {
        texts.copy(array, behind..row)?;
        texts.write(|out| array.is_valid(row) && change(row, array.value(row), out))?;
        behind = row + 1;
    }
    texts.copy(array, behind..array.len())?;
    Ok(Arc::new(texts.finish()))
}

/// Numbers, some of them changed; `None` is NULL.
fn numbers<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    rows: &Rows,
    mut change: impl FnMut(usize, T::Native) -> Option<T::Native>,
) -> ArrayRef {
    let array: &PrimitiveArray<T> = array.as_primitive();
    let mut values = Vec::with_capacity(array.len());
    let mut nulls = NullBufferBuilder::new(array.len());
    for (row, &value) in array.values().iter().enumerate() {
        let kept = match array.is_valid(row) {
            false => None,
            true if rows.has(row) => change(row, value),
            true => Some(value),
        };
        values.push(kept.unwrap_or_default());
        nulls.append(kept.is_some());
    }
    let changed = PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls.finish());
    Arc::new(changed.with_data_type(array.data_type().clone()))
}

fn round(array: &ArrayRef, rows: &Rows, decimals: i8) -> Result<ArrayRef, TooLong> {
    let integer = |value: i64| round_integer(value, decimals);
    Ok(match array.data_type() {
        DataType::Int16 => numbers::<Int16Type>(array, rows, |_, v| integer(v.into())?.try_into().ok()),
        DataType::Int32 => numbers::<Int32Type>(array, rows, |_, v| integer(v.into())?.try_into().ok()),
        DataType::Int64 => numbers::<Int64Type>(array, rows, |_, v| integer(v)),
        DataType::Decimal128(precision, scale) => {
            let digits = u32::from(*precision);
            numbers::<Decimal128Type>(array, rows, |_, value| {
                // Rounding up may need a digit that the type does not have.
                let limit = 10_i128.checked_pow(digits).unwrap_or(i128::MAX);
                round_decimal(value, *scale, decimals).filter(|rounded| rounded.abs() < limit)
            })
        }
        DataType::Float32 => {
            let array: &Float32Array = array.as_primitive();
            let mut rounded: Vec<f64> = array.values().iter().map(|&value| value.into()).collect();
            round_float(&mut rounded, decimals);
            let values = array.values().iter().enumerate();
            let values = values.map(|(row, &value)| if rows.has(row) { rounded[row] as f32 } else { value });
            Arc::new(Float32Array::new(values.collect(), array.nulls().cloned()))
        }
        DataType::Float64 => {
            let array: &Float64Array = array.as_primitive();
            let mut rounded = array.values().to_vec();
            round_float(&mut rounded, decimals);
            if let Rows::Some(bits) = rows {
                for (row, value) in rounded.iter_mut().enumerate().filter(|(row, _)| !bits.value(*row)) {
                    *value = array.value(row);
                }
            }
            Arc::new(Float64Array::new(ScalarBuffer::from(rounded), array.nulls().cloned()))
        }
        _ => texts(array, rows, |_, text, out| {
            let rounded = round_number_text(text, decimals);
            rounded.map(|rounded| out.extend_from_slice(rounded.as_bytes())).is_some()
        })?,
    })
}
