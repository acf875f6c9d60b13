//! Values whose bytes are nearly the file's own: UUIDs as bytes, money as decimals.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, FixedSizeBinaryArray};
use arrow::buffer::{Buffer, ScalarBuffer};

use super::super::types::MONEY_PRECISION;
use super::validity::Validity;
use super::{Builder, ValueError, fixed};

/// `uuid` as its 16 bytes.
#[derive(Debug, Default)]
pub(super) struct UuidBytes {
    bytes: Vec<u8>,
    validity: Validity,
}

impl Builder for UuidBytes {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        self.bytes.extend_from_slice(&fixed::<16>(bytes)?);
        self.validity.push_valid();
        Ok(())
    }

    fn push_null(&mut self) {
        self.bytes.extend_from_slice(&[0; 16]);
        self.validity.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        let bytes = Buffer::from_vec(std::mem::take(&mut self.bytes));
        let array = FixedSizeBinaryArray::try_new(16, bytes, self.validity.take())
            .map_err(|_| ValueError::Malformed("builder lengths differ"))?;
        Ok(Arc::new(array))
    }
}

/// `money` in the smallest unit of the server's locale, as exact decimals.
#[derive(Debug)]
pub(super) struct Money {
    values: Vec<i128>,
    validity: Validity,
    scale: i8,
}

impl Money {
    /// An empty builder of decimals with so many places.
    pub(super) fn new(scale: i8, rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), validity: Validity::default(), scale }
    }
}

impl Builder for Money {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        self.values.push(i64::from_be_bytes(fixed(bytes)?).into());
        self.validity.push_valid();
        Ok(())
    }

    fn push_null(&mut self) {
        self.values.push(0);
        self.validity.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        let values = ScalarBuffer::from(std::mem::take(&mut self.values));
        let array = Decimal128Array::try_new(values, self.validity.take())
            .and_then(|array| array.with_precision_and_scale(MONEY_PRECISION, self.scale))
            .map_err(|_| ValueError::Malformed("a decimal type that does not exist"))?;
        Ok(Arc::new(array))
    }
}
