//! Which rows a table holds, whatever their order: what says that it has not changed since it was exported last.
//!
//! Each row, as it leaves, is hashed by itself, and the hashes are added up: so neither the order in which the warehouse
//! sends rows nor how they are cut into batches makes a difference, and a row that is there twice is counted twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use sha2::{Digest, Sha256};

use super::super::plan::TablePlan;
use crate::error::{ErrorCode, Failure};
use crate::jobs::StagedPartition;

/// The rows of a file, as they are added to it.
#[derive(Debug)]
pub(in super::super) struct Content {
    converter: RowConverter,
    schema: Arc<Schema>,
    /// 256 bits, the lowest first.
    sum: [u64; 4],
    rows: u64,
}

impl Content {
    /// Of batches of this schema. `None` where a type cannot be compared: then nobody can say that nothing has changed.
    pub(in super::super) fn of(schema: &Arc<Schema>) -> Option<Self> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields).ok()?;
        Some(Self { converter, schema: Arc::clone(schema), sum: [0; 4], rows: 0 })
    }

    /// Adds the rows of a batch.
    ///
    /// # Errors
    /// `INTERNAL` for a batch of another schema.
    pub(in super::super) fn add(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let rows = self
            .converter
            .convert_columns(batch.columns())
            .map_err(|_| Failure::new(ErrorCode::Internal, "rows of another shape than was planned"))?;
        for row in &rows {
            let hash = Sha256::digest(row.as_ref());
            let mut carry = false;
            for (limb, bytes) in self.sum.iter_mut().zip(hash.as_chunks::<8>().0) {
                let (sum, over) = limb.overflowing_add(u64::from_le_bytes(*bytes));
                let (sum, again) = sum.overflowing_add(u64::from(carry));
                (*limb, carry) = (sum, over || again);
            }
            self.rows += 1;
        }
        Ok(())
    }

    /// What names the rows that were added, with the names and types of their columns: SHA-256 in hex.
    pub(in super::super) fn name(&self) -> String {
        let mut hash = Sha256::new();
        for field in self.schema.fields() {
            hash.update(format!("{:?} {} {}\n", field.name(), written(field.data_type()), field.is_nullable()));
        }
        hash.update(self.rows.to_le_bytes());
        self.sum.iter().for_each(|limb| hash.update(limb.to_le_bytes()));
        hex(&hash.finalize())
    }
}

/// A type as text, the same however often it is made: what fields inside it say of themselves has no order of its own.
fn written(data_type: &DataType) -> String {
    let inner = |field: &Field| {
        let said: BTreeMap<_, _> = field.metadata().iter().collect();
        format!("{:?} {} {} {said:?}", field.name(), written(field.data_type()), field.is_nullable())
    };
    match data_type {
        DataType::List(item) => format!("list ({})", inner(item)),
        DataType::Map(entries, sorted) => format!("map ({}) {sorted}", inner(entries)),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|field| inner(field)).collect();
            format!("struct ({})", fields.join(", "))
        }
        // No other type that columns become has fields inside it.
        plain => format!("{plain:?}"),
    }
}

/// What names a table's content: its rows, and everything that makes them files. `None` where a file does not say which
/// rows it holds. Another version of the exporter may write the same rows otherwise, so each has names of its own.
pub(super) fn identity(plan: &TablePlan, staged: &[StagedPartition]) -> Option<String> {
    let files: Option<Vec<_>> = staged.iter().map(|file| Some((file.report.content.as_ref()?, &file.scan))).collect();
    let all = (env!("CARGO_PKG_VERSION"), &plan.policy.hash, plan.form, &plan.manifest_types, &plan.options, files?);
    Some(hex(&Sha256::digest(serde_json::to_vec(&all).ok()?)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::Fields;

    use super::*;

    fn name(batches: &[&[(i64, Option<&str>)]]) -> String {
        let columns = |rows: &[(i64, Option<&str>)]| {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
            let notes: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>());
            RecordBatch::try_from_iter([("id", ids), ("note", notes)]).unwrap()
        };
        let mut content = Content::of(&columns(&[]).schema()).unwrap();
        batches.iter().for_each(|rows| content.add(&columns(rows)).unwrap());
        content.name()
    }

    #[test]
    fn the_same_rows_have_one_name_and_others_another() {
        let rows = [(1, Some("a")), (2, None), (3, Some(""))];
        let same = name(&[&rows]);
        assert_eq!(name(&[&rows[1..], &[], &rows[..1]]), same, "in another order, and in other batches");
        for other in [
            &[][..],
            &rows[..2],
            &[(1, Some("a")), (2, Some("")), (3, Some(""))],
            &[(1, Some("a")), (2, None), (3, None)],
            &[(1, Some("")), (2, None), (3, Some("a"))],
            &[(1, Some("a")), (2, None), (3, Some("")), (3, Some(""))],
            &[(1, Some("a")), (1, Some("a")), (2, None), (2, None), (3, Some("")), (3, Some(""))],
        ] {
            assert_ne!(name(&[other]), same, "{other:?}");
        }
    }
    /// Items, fields and values that say more of themselves, such as that they are documents.
    #[test]
    fn one_type_has_one_name_however_often_it_is_made() {
        let said =
            |kind: &str| HashMap::from([("name".to_owned(), kind.to_owned()), ("more".to_owned(), String::new())]);
        let part = |name: &str, kind: &str| Field::new(name, DataType::Utf8, true).with_metadata(said(kind));
        let name = |item: &str, first: &str| {
            let fields = Fields::from(vec![part("first", first), part("second", "text")]);
            let pair = Fields::from(vec![Field::new("key", DataType::Utf8, false), part("value", "text")]);
            let pair = Field::new("key_value", DataType::Struct(pair), false);
            Content::of(&Arc::new(Schema::new(vec![
                Field::new("list", DataType::List(Arc::new(part("element", item))), true),
                Field::new("struct", DataType::Struct(fields), true),
                Field::new("map", DataType::Map(Arc::new(pair), false), true),
            ])))
            .unwrap()
            .name()
        };
        let same = name("document", "text");
        assert!((0..50).all(|_| name("document", "text") == same));
        assert_ne!(name("text", "text"), same);
        assert_ne!(name("document", "document"), same);
    }

    /// Nobody can say that such rows have not changed: a table with them is exported every time.
    #[test]
    fn a_type_that_cannot_be_compared_has_no_name() {
        let odd = DataType::Dictionary(
            Box::new(DataType::Int8),
            Box::new(DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)))),
        );
        assert!(Content::of(&Arc::new(Schema::new(vec![Field::new("odd", odd, true)]))).is_none());
    }
}
