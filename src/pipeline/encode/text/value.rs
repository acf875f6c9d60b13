//! Values of Arrow arrays as text, without loss.
//!
//! | values | CSV | JSON |
//! |---|---|---|
//! | integers | digits | number |
//! | decimals | digits with the column's scale | text of them: readers of JSON make doubles of numbers |
//! | floats | shortest text that reads back as the same; `NaN`, `Infinity`, `-Infinity` | number; text for those three |
//! | booleans | `true`, `false` | the same |
//! | timestamps, dates, times | ISO 8601; with `Z` where the column has a zone | the same, as text |
//! | text | the text | text |
//! | JSON documents | the document | the document itself, line ends between its parts made blanks |
//! | bytes | hex | hex, as text |
//! | lists, structs, maps | their JSON | arrays and objects |

use std::io::Write;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

/// Whether values of this type have a text form here.
pub(super) fn has_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float32 | DataType::Float64 => true,
        DataType::Decimal128(..) | DataType::Boolean | DataType::Utf8 | DataType::Binary | DataType::Date32 => true,
        DataType::Time64(TimeUnit::Microsecond) | DataType::Timestamp(TimeUnit::Microsecond, _) => true,
        DataType::FixedSizeBinary(_) => true,
        DataType::List(item) => has_text(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| has_text(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => {
                pair.len() == 2 && pair[0].data_type() == &DataType::Utf8 && has_text(pair[1].data_type())
            }
            _ => false,
        },
        _ => false,
    }
}

/// What must be known of a column beside its array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// A value without parts.
    Plain,
    /// Text that is a JSON document.
    Document,
    /// 16 bytes that are a UUID.
    Uuid,
    /// A list or map, and what it holds.
    Of(Box<Shape>),
    /// The fields of a struct: their names as JSON, and what they hold.
    Fields(Vec<(Vec<u8>, Shape)>),
}

impl Shape {
    pub(super) fn of(field: &Field) -> Self {
        let extension = field.metadata().get("ARROW:extension:name").map(String::as_str);
        match (field.data_type(), extension) {
            (DataType::Utf8, Some("arrow.json")) => Self::Document,
            (DataType::FixedSizeBinary(16), Some("arrow.uuid")) => Self::Uuid,
            (DataType::List(item), _) => Self::Of(Box::new(Self::of(item))),
            (DataType::Map(entries, _), _) => match entries.data_type() {
                DataType::Struct(pair) if pair.len() == 2 => Self::Of(Box::new(Self::of(&pair[1]))),
                _ => Self::Plain,
            },
            (DataType::Struct(fields), _) => Self::Fields(
                fields
                    .iter()
                    .map(|field| {
                        let mut name = Vec::new();
                        quoted(field.name(), &mut name);
                        (name, Self::of(field))
                    })
                    .collect(),
            ),
            _ => Self::Plain,
        }
    }
}

/// A text in JSON's quotes.
pub(super) fn quoted(text: &str, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, text);
    debug_assert!(written.is_ok(), "memory takes everything");
}

/// A value of a type without parts, not NULL, with neither quotes, commas nor line ends in it unless it is text.
pub(super) fn plain(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    let written = match array.data_type() {
        DataType::Int16 => write!(out, "{}", array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => write!(out, "{}", array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => write!(out, "{}", array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row), out),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row), out),
        DataType::Decimal128(_, scale) => {
            decimal(array.as_primitive::<Decimal128Type>().value(row), *scale, out);
            Ok(())
        }
        DataType::Boolean => write!(out, "{}", array.as_boolean().value(row)),
        DataType::Utf8 => out.write_all(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => hex(array.as_binary::<i32>().value(row), out),
        DataType::FixedSizeBinary(_) => hex(array.as_fixed_size_binary().value(row), out),
        DataType::Date32 => {
            super::instant::date(i64::from(array.as_primitive::<Date32Type>().value(row)), out);
            Ok(())
        }
        DataType::Time64(_) => {
            super::instant::time(array.as_primitive::<Time64MicrosecondType>().value(row), out);
            Ok(())
        }
        DataType::Timestamp(_, zone) => {
            super::instant::timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row), out);
            if zone.is_some() { out.write_all(b"Z") } else { Ok(()) }
        }
        other => unreachable!("{other} was refused when the encoder was made"),
    };
    debug_assert!(written.is_ok(), "memory takes everything");
}

/// Any value as JSON, NULL as `null`.
pub(super) fn json(shape: &Shape, array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match (array.data_type(), shape) {
        (DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Boolean, _) => plain(array, row, out),
        (DataType::Float32, _) if array.as_primitive::<Float32Type>().value(row).is_finite() => plain(array, row, out),
        (DataType::Float64, _) if array.as_primitive::<Float64Type>().value(row).is_finite() => plain(array, row, out),
        (DataType::Utf8, Shape::Document) => {
            let document = array.as_string::<i32>().value(row).bytes();
            // Inside a JSON text line ends are escaped, so these stand between its parts.
            out.extend(document.map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        }
        (DataType::Utf8, _) => quoted(array.as_string::<i32>().value(row), out),
        (DataType::FixedSizeBinary(16), Shape::Uuid) => {
            out.push(b'"');
            uuid(array.as_fixed_size_binary().value(row), out);
            out.push(b'"');
        }
        (DataType::List(_), Shape::Of(item)) => {
            let items = array.as_list::<i32>().value(row);
            out.push(b'[');
            for index in 0..items.len() {
                if index > 0 {
                    out.push(b',');
                }
                json(item, &items, index, out);
            }
            out.push(b']');
        }
        (DataType::Map(..), Shape::Of(item)) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1));
            out.push(b'{');
            for index in 0..entries.len() {
                if index > 0 {
                    out.push(b',');
                }
                quoted(keys.value(index), out);
                out.push(b':');
                json(item, values, index, out);
            }
            out.push(b'}');
        }
        (DataType::Struct(_), Shape::Fields(fields)) => {
            let parts = array.as_struct();
            out.push(b'{');
            for (index, (name, shape)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(name);
                out.push(b':');
                json(shape, parts.column(index), row, out);
            }
            out.push(b'}');
        }
        _ => {
            out.push(b'"');
            plain(array, row, out);
            out.push(b'"');
        }
    }
}

/// A float as PostgreSQL writes it where it is no number; the exponent is written where digits would go on for ever.
fn float<F: Into<f64> + std::fmt::Display + std::fmt::LowerExp + Copy>(
    value: F,
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    let wide: f64 = value.into();
    let size = wide.abs();
    if wide.is_nan() {
        out.write_all(b"NaN")
    } else if wide.is_infinite() {
        out.write_all(if wide > 0.0 { b"Infinity" } else { b"-Infinity" })
    } else if size == 0.0 && wide.is_sign_negative() {
        // Readers of JSON take `-0` for an integer, which has no sign when it is zero.
        out.write_all(b"-0.0")
    } else if size == 0.0 || (1e-5..1e16).contains(&size) {
        write!(out, "{value}")
    } else {
        write!(out, "{value:e}")
    }
}

/// A decimal with all digits of its scale.
fn decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    let places = usize::from(scale.unsigned_abs());
    let digits = value.unsigned_abs().to_string();
    if value < 0 {
        out.push(b'-');
    }
    if scale <= 0 {
        out.extend_from_slice(digits.as_bytes());
        if value != 0 {
            out.resize(out.len() + places, b'0');
        }
        return;
    }
    let whole = digits.len().saturating_sub(places);
    out.extend_from_slice(if whole == 0 { b"0" } else { &digits.as_bytes()[..whole] });
    out.push(b'.');
    out.resize(out.len() + places.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(&digits.as_bytes()[whole..]);
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
    Ok(())
}

/// 16 bytes as a UUID.
pub(super) fn uuid(bytes: &[u8], out: &mut Vec<u8>) {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        let written = hex(&[*byte], out);
        debug_assert!(written.is_ok(), "memory takes everything");
    }
}
