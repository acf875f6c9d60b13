//! `hstore`: keys with texts. The form is that of `hstore_send` in the extension's `hstore_io.c`.

use std::sync::Arc;

use arrow::array::{ArrayRef, MapArray, StructArray};
use arrow::datatypes::{DataType, FieldRef};

use super::super::types::pair_fields;
use super::cursor::Cursor;
use super::list::Offsets;
use super::validity::Validity;
use super::varlen::Bytes;
use super::{Builder, ValueError};

/// A builder of maps.
pub(super) struct Hstore {
    keys: Bytes,
    values: Bytes,
    field: FieldRef,
    offsets: Offsets,
    validity: Validity,
}

impl Hstore {
    /// An empty builder of arrays of `data_type`, a map of texts.
    pub(super) fn new(data_type: DataType, rows: usize) -> Self {
        let field = match data_type {
            DataType::Map(field, _) => field,
            other => Arc::new(arrow::datatypes::Field::new("key_value", other, false)),
        };
        Self {
            keys: Bytes::new(rows, 8),
            values: Bytes::new(rows, 8),
            field,
            offsets: Offsets::new(rows),
            validity: Validity::default(),
        }
    }
}

impl Builder for Hstore {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let mut rest = Cursor(bytes);
        let count = rest.count(8)?;
        for _ in 0..count {
            self.keys.extend(rest.present()?);
            self.keys.close()?;
            match rest.part()? {
                Some(value) => {
                    self.values.extend(value);
                    self.values.close()?;
                }
                None => self.values.push_null(),
            }
        }
        rest.end()?;
        self.offsets.close(count)?;
        self.validity.push_valid();
        Ok(())
    }

    fn push_null(&mut self) {
        self.offsets.close_null();
        self.validity.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        const DIFFER: ValueError = ValueError::Malformed("builder lengths differ");
        let pairs = vec![self.keys.take_text()?, self.values.take_text()?];
        let pairs = StructArray::try_new(pair_fields(), pairs, None).map_err(|_| DIFFER)?;
        let field = Arc::clone(&self.field);
        let array =
            MapArray::try_new(field, self.offsets.take(), pairs, self.validity.take(), false).map_err(|_| DIFFER)?;
        Ok(Arc::new(array))
    }
}
