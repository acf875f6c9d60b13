//! JSON, one object a line: every column in every line, NULL as `null`.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::Lines;
use super::value::{self, Shape};

pub(super) struct Jsonl {
    /// For each column, what stands before its value: `{"first":` or `,"other":`.
    columns: Vec<(Vec<u8>, Shape)>,
}

impl Jsonl {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        let columns = schema.fields().iter().enumerate().map(|(i, field)| {
            let mut before = vec![if i == 0 { b'{' } else { b',' }];
            value::quoted(field.name(), &mut before);
            before.push(b':');
            (before, Shape::of(field))
        });
        Self { columns: columns.collect() }
    }
}

impl Lines for Jsonl {
    fn head(&self, _out: &mut Vec<u8>) {}

    fn row(&mut self, batch: &RecordBatch, row: usize, out: &mut Vec<u8>) {
        for ((before, shape), array) in self.columns.iter().zip(batch.columns()) {
            out.extend_from_slice(before);
            value::json(shape, array, row, out);
        }
        out.extend_from_slice(if self.columns.is_empty() { b"{}\n" } else { b"}\n" });
    }
}
