//! Values of fixed width that become fixed width: integers, floats, dates and timestamps.

use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};

use super::validity::Validity;
use super::{Builder, ValueError, fixed};

/// Days from 1970-01-01 to 2000-01-01, from where PostgreSQL counts.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// One type's form on the wire.
pub(super) trait Wire {
    /// The Arrow type that it becomes.
    type Arrow: ArrowPrimitiveType;

    /// One value.
    fn decode(bytes: &[u8]) -> Result<<Self::Arrow as ArrowPrimitiveType>::Native, ValueError>;
}

/// A builder for any [`Wire`] type.
pub(super) struct Primitive<W: Wire> {
    values: Vec<<W::Arrow as ArrowPrimitiveType>::Native>,
    validity: Validity,
    data_type: DataType,
}

impl<W: Wire> Primitive<W> {
    /// An empty builder of arrays of `data_type`, which adds the zone where there is one.
    pub(super) fn new(data_type: DataType, capacity: usize) -> Self {
        Self { values: Vec::with_capacity(capacity), validity: Validity::default(), data_type }
    }
}

impl<W: Wire> Builder for Primitive<W> {
    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        self.values.push(W::decode(bytes)?);
        self.validity.push_valid();
        Ok(())
    }

    #[inline]
    fn push_null(&mut self) {
        self.values.push(Default::default());
        self.validity.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        let capacity = self.values.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(capacity));
        let array = PrimitiveArray::<W::Arrow>::try_new(ScalarBuffer::from(values), self.validity.take())
            .map_err(|_| ValueError::Malformed("builder lengths differ"))?;
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }
}

/// Declares the types whose bytes are the value.
macro_rules! plain {
    ($($(#[$doc:meta])+ $name:ident: $native:ty => $arrow:ty, $convert:expr;)+) => {$(
        $(#[$doc])+
        pub(super) enum $name {}

        impl Wire for $name {
            type Arrow = $arrow;

            #[inline]
            fn decode(bytes: &[u8]) -> Result<<$arrow as ArrowPrimitiveType>::Native, ValueError> {
                $convert(<$native>::from_be_bytes(fixed(bytes)?))
            }
        }
    )+};
}

plain! {
    /// `int2`.
    Int2: i16 => Int16Type, Ok;
    /// `int4`.
    Int4: i32 => Int32Type, Ok;
    /// `int8`.
    Int8: i64 => Int64Type, Ok;
    /// `oid`: unsigned, so it needs the wider type.
    Oid: u32 => Int64Type, |value: u32| Ok(i64::from(value));
    /// `float4`.
    Float4: f32 => Float32Type, Ok;
    /// `float8`.
    Float8: f64 => Float64Type, Ok;
    /// `timestamp` and `timestamptz`: microseconds since 2000.
    Timestamp: i64 => TimestampMicrosecondType, timestamp;
    /// `date`: days since 2000.
    Date: i32 => Date32Type, date;
}

/// The ends of the range stand for the infinities and are looked for before the shift, which would make them
/// ordinary moments.
#[inline]
fn timestamp(micros: i64) -> Result<i64, ValueError> {
    match micros {
        i64::MAX | i64::MIN => Err(ValueError::Unrepresentable("the timestamp is infinite")),
        _ => micros
            .checked_add(EPOCH_MICROS)
            .ok_or(ValueError::Unrepresentable("the timestamp is after the year 294246")),
    }
}

#[inline]
fn date(days: i32) -> Result<i32, ValueError> {
    match days {
        i32::MAX | i32::MIN => Err(ValueError::Unrepresentable("the date is infinite")),
        _ => days.checked_add(EPOCH_DAYS).ok_or(ValueError::Unrepresentable("the date is too late")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_are_seen_before_the_shift() {
        for (micros, want) in [
            (0, Some(EPOCH_MICROS)),
            (-EPOCH_MICROS, Some(0)),
            (i64::MAX, None),
            (i64::MIN, None),
            (i64::MIN + 1, Some(i64::MIN + 1 + EPOCH_MICROS)),
            (i64::MAX - EPOCH_MICROS, Some(i64::MAX)),
            (i64::MAX - EPOCH_MICROS + 1, None),
        ] {
            assert_eq!(timestamp(micros).ok(), want, "{micros}");
        }
        for (days, want) in [(0, Some(EPOCH_DAYS)), (i32::MAX, None), (i32::MIN, None), (i32::MAX - 1, None)] {
            assert_eq!(date(days).ok(), want, "{days}");
        }
    }

    #[test]
    fn a_value_of_another_width_is_an_error() {
        for bytes in [&[][..], &[1], &[0; 3], &[0; 5]] {
            assert!(matches!(Int4::decode(bytes), Err(ValueError::Malformed(_))));
        }
    }
}
