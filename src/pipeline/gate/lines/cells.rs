//! The values that the policy's conditions ask for, collected into batches, so that the checks of rows are the same
//! for every format.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, BooleanBuilder, Int64Builder, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;

use super::super::read::Refusal;
use super::super::rows::RowChecks;
use super::types::Form;

/// Rows of a batch, at most.
const BATCH_ROWS: usize = 8192;
/// Bytes of texts in a batch, about.
const BATCH_BYTES: usize = 2 << 20;

/// Rows of the columns that are asked for.
pub(super) struct Cells<'r> {
    /// For each column of the file, its place among those that are kept.
    kept: Vec<Option<usize>>,
    columns: Vec<(&'r str, Values)>,
    rows: usize,
    bytes: usize,
}

/// Values as the checks compare them; of values that they do not compare, whether they are there.
enum Values {
    Texts(StringBuilder),
    Integers(Int64Builder),
    Booleans(BooleanBuilder),
    There(BinaryBuilder),
}

impl<'r> Cells<'r> {
    /// For these checks of a file with these columns.
    pub(super) fn new(checks: &RowChecks, columns: impl Iterator<Item = (&'r str, Form)>) -> Self {
        let needed = checks.needed();
        let mut cells = Self { kept: Vec::new(), columns: Vec::new(), rows: 0, bytes: 0 };
        for (name, form) in columns {
            cells.kept.push(needed.contains(name).then_some(cells.columns.len()));
            if needed.contains(name) {
                let values = match form {
                    Form::Text => Values::Texts(StringBuilder::new()),
                    Form::Integer(..) => Values::Integers(Int64Builder::new()),
                    Form::Boolean => Values::Booleans(BooleanBuilder::new()),
                    _ => Values::There(BinaryBuilder::new()),
                };
                cells.columns.push((name, values));
            }
        }
        cells
    }

    /// Adds the row's value of a column of the file, `None` for NULL. It has the column's form.
    pub(super) fn add(&mut self, number: usize, text: Option<&str>) {
        let Some((_, values)) = self.kept[number].and_then(|place| self.columns.get_mut(place)) else { return };
        match values {
            Values::Texts(texts) => {
                self.bytes += text.map_or(0, str::len);
                texts.append_option(text);
            }
            Values::Integers(integers) => integers.append_option(text.and_then(|text| text.parse().ok())),
            Values::Booleans(booleans) => booleans.append_option(text.map(|text| text == "true")),
            Values::There(there) => there.append_option(text.map(|_| b"")),
        }
    }

    /// Ends a row, and hands a batch that is large enough to the checks.
    pub(super) fn end_row(&mut self, check: impl FnOnce(&RecordBatch) -> Result<(), Refusal>) -> Result<(), Refusal> {
        self.rows += 1;
        if self.rows == BATCH_ROWS || self.bytes >= BATCH_BYTES { self.flush(check) } else { Ok(()) }
    }

    /// Hands the rows that are left to the checks.
    pub(super) fn flush(&mut self, check: impl FnOnce(&RecordBatch) -> Result<(), Refusal>) -> Result<(), Refusal> {
        if self.rows == 0 {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for (name, values) in &mut self.columns {
            let array: ArrayRef = match values {
                Values::Texts(texts) => Arc::new(texts.finish()),
                Values::Integers(integers) => Arc::new(integers.finish()),
                Values::Booleans(booleans) => Arc::new(booleans.finish()),
                Values::There(there) => Arc::new(there.finish()),
            };
            fields.push(Field::new(*name, array.data_type().clone(), true));
            arrays.push(array);
        }
        if fields.is_empty() {
            // Conditions without columns, such as "no row", still ask for the number of rows.
            fields.push(Field::new("", DataType::Null, true));
            arrays.push(arrow::array::new_null_array(&DataType::Null, rows));
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|_| Refusal::Broken("cannot be compared with the policy".to_owned()))?;
        check(&batch)
    }
}
