//! `bool`: one byte, 0 or 1.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;

use super::validity::Validity;
use super::{Builder, ValueError};

/// A builder of booleans.
#[derive(Debug, Default)]
pub(super) struct Boolean {
    values: Vec<bool>,
    validity: Validity,
}

impl Builder for Boolean {
    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        match bytes {
            [0] => self.values.push(false),
            [1] => self.values.push(true),
            _ => return Err(ValueError::Malformed("a boolean is neither 0 nor 1")),
        }
        self.validity.push_valid();
        Ok(())
    }

    #[inline]
    fn push_null(&mut self) {
        self.values.push(false);
        self.validity.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        let array = BooleanArray::new(BooleanBuffer::from(self.values.as_slice()), self.validity.take());
        self.values.clear();
        Ok(Arc::new(array))
    }
}
