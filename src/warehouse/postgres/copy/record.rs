//! Composite types: the form is that of `record_send` in PostgreSQL's `rowtypes.c`.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::{DataType, Fields};

use super::super::types::Attribute;
use super::cursor::Cursor;
use super::fidelity::Counter;
use super::validity::Validity;
use super::{Builder, Column, ValueError};

/// A builder of structures.
pub(super) struct Record {
    /// Each with the type that the server names beside its value.
    columns: Vec<(u32, Column)>,
    fields: Fields,
    validity: Validity,
}

impl Record {
    /// An empty builder of arrays of `data_type`, which is a structure of these attributes, at least one.
    pub(super) fn new(attributes: &[Attribute], data_type: DataType, rows: usize) -> Self {
        let fields = match data_type {
            DataType::Struct(fields) => fields,
            _ => Fields::empty(),
        };
        let columns = attributes.iter().zip(&fields).map(|(attribute, field)| {
            (attribute.oid, Column::new(&attribute.decoding, field.data_type().clone(), rows))
        });
        Self { columns: columns.collect(), fields, validity: Validity::default() }
    }
}

impl Builder for Record {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let mut rest = Cursor(bytes);
        if usize::try_from(rest.i32()?) != Ok(self.columns.len()) {
            return Err(ValueError::Malformed("a composite value with another number of fields than was planned"));
        }
        for (oid, column) in &mut self.columns {
            if rest.u32()? != *oid {
                return Err(ValueError::Malformed("a composite value with a field of another type than was planned"));
            }
            match rest.part()? {
                Some(field) => column.push(field)?,
                None => column.push_null(),
            }
        }
        rest.end()?;
        self.validity.push_valid();
        Ok(())
    }

    fn push_null(&mut self) {
        for (_, column) in &mut self.columns {
            column.push_null();
        }
        self.validity.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        let arrays = self.columns.iter_mut().map(|(_, column)| column.take()).collect::<Result<Vec<_>, _>>()?;
        let array = StructArray::try_new(self.fields.clone(), arrays, self.validity.take())
            .map_err(|_| ValueError::Malformed("builder lengths differ"))?;
        Ok(Arc::new(array))
    }

    fn counters(&self, into: &mut Vec<Arc<Counter>>) {
        for (_, column) in &self.columns {
            column.counters(into);
        }
    }
}
