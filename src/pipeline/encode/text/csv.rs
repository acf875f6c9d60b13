//! CSV as RFC 4180 has it.

use arrow::array::{Array, AsArray, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::Lines;
use super::value::{self, Shape};

/// What makes a spreadsheet take a field for a formula when it begins with it.
const FORMULA: [u8; 6] = [b'=', b'+', b'-', b'@', b'\t', b'\r'];

struct Column {
    shape: Shape,
    /// Whether its values may hold anything, quotes and line ends too.
    free: bool,
    guarded: bool,
}

pub(super) struct Csv {
    head: Vec<u8>,
    columns: Vec<Column>,
    scratch: Vec<u8>,
}

impl Csv {
    pub(super) fn new(schema: &SchemaRef, guarded: &[bool]) -> Self {
        let mut head = Vec::new();
        for (i, field) in schema.fields().iter().enumerate() {
            if i > 0 {
                head.push(b',');
            }
            field_of(field.name().as_bytes(), false, &mut head);
        }
        head.extend_from_slice(b"\r\n");
        let columns = schema.fields().iter().enumerate().map(|(i, field)| Column {
            shape: Shape::of(field),
            free: field.data_type() == &DataType::Utf8 || field.data_type().is_nested(),
            guarded: guarded.get(i).copied().unwrap_or(true) && field.data_type() == &DataType::Utf8,
        });
        Self { head, columns: columns.collect(), scratch: Vec::new() }
    }
}

impl Lines for Csv {
    fn head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
    }

    fn row(&mut self, batch: &RecordBatch, row: usize, out: &mut Vec<u8>) {
        for (i, (column, array)) in self.columns.iter().zip(batch.columns()).enumerate() {
            if i > 0 {
                out.push(b',');
            }
            if array.is_null(row) {
                continue;
            }
            match array.as_any().downcast_ref::<StringArray>() {
                Some(texts) => field_of(texts.value(row).as_bytes(), column.guarded, out),
                None if column.free => {
                    self.scratch.clear();
                    value::json(&column.shape, array, row, &mut self.scratch);
                    field_of(&self.scratch, false, out);
                }
                None if column.shape == Shape::Uuid => value::uuid(array.as_fixed_size_binary().value(row), out),
                None => {
                    let before = out.len();
                    value::plain(array, row, out);
                    // No bytes at all are no NULL either.
                    if out.len() == before {
                        out.extend_from_slice(b"\"\"");
                    }
                }
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// One field that may hold anything. An empty one is quoted, or it would be NULL.
///
/// A text whose formula has `'` before it already gets one more, so that taking one away undoes the guard of every text.
fn field_of(text: &[u8], guarded: bool, out: &mut Vec<u8>) {
    let first = || text.iter().find(|byte| **byte != b'\'');
    let formula = guarded && first().is_some_and(|first| FORMULA.contains(first));
    let special = |byte: &u8| matches!(byte, b'"' | b',' | b'\r' | b'\n');
    // Blanks at the ends are content, which some readers trim where nothing is quoted.
    let edge = |byte: Option<&u8>| byte.is_none_or(|byte| byte.is_ascii_whitespace());
    if !edge(text.first()) && !edge(text.last()) && !text.iter().any(special) {
        if formula {
            out.push(b'\'');
        }
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    if formula {
        out.push(b'\'');
    }
    for part in text.split_inclusive(|byte| *byte == b'"') {
        out.extend_from_slice(part);
        if part.last() == Some(&b'"') {
            out.push(b'"');
        }
    }
    out.push(b'"');
}
