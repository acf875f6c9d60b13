//! Times of day with a zone or as numbers, intervals, and moments that are kept within the years that every reader
//! knows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, PrimitiveArray, StructArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Time64MicrosecondType};

use super::super::types::interval_fields;
use super::cursor::Cursor;
use super::fidelity::{Action, Counter};
use super::primitive::Wire;
use super::spelled::Spell;
use super::validity::Validity;
use super::varlen::{Bytes, time_text};
use super::{Builder, ValueError, fixed};

const DAY: i64 = 86_400_000_000;
const BEYOND_DAY: ValueError = ValueError::Malformed("a time outside the day");

/// `time` as microseconds since midnight. The end of the day is no time of the file's type.
pub(super) enum Time64 {}

impl Wire for Time64 {
    type Arrow = Time64MicrosecondType;

    fn decode(bytes: &[u8]) -> Result<i64, ValueError> {
        match i64::from_be_bytes(fixed(bytes)?) {
            micros @ 0..DAY => Ok(micros),
            DAY => Err(ValueError::Unrepresentable("the time is 24:00:00")),
            _ => Err(BEYOND_DAY),
        }
    }
}

/// `timetz` as `HH:MM:SS.ffffff+HH:MM`, with the zone's seconds where there are any.
#[derive(Debug)]
pub(super) enum TimeTz {}

impl Spell for TimeTz {
    fn spell(bytes: &[u8], out: &mut Bytes) -> Result<(), ValueError> {
        let mut rest = Cursor(bytes);
        let micros = i64::from_be_bytes(rest.chunk()?);
        let west = rest.i32()?;
        rest.end()?;
        // PostgreSQL's own limit for zones is below 16 hours.
        if west.unsigned_abs() >= 16 * 3600 {
            return Err(ValueError::Malformed("a zone that no time has"));
        }
        out.extend(&time_text(micros)?);
        let offset = west.unsigned_abs();
        out.extend(if west > 0 { b"-" } else { b"+" });
        let digits = |value: u32| [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        out.extend(&digits(offset / 3600));
        out.extend(b":");
        out.extend(&digits(offset / 60 % 60));
        if offset % 60 != 0 {
            out.extend(b":");
            out.extend(&digits(offset % 60));
        }
        Ok(())
    }
}

/// `interval`: months, days and microseconds, none of which is a number of another.
#[derive(Debug, Default)]
pub(super) struct Interval {
    months: Vec<i32>,
    days: Vec<i32>,
    micros: Vec<i64>,
    validity: Validity,
}

impl Builder for Interval {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let mut rest = Cursor(bytes);
        let micros = i64::from_be_bytes(rest.chunk()?);
        let [days, months] = [rest.i32()?, rest.i32()?];
        rest.end()?;
        // So newer servers write the infinities.
        if matches!((months, days, micros), (i32::MAX, i32::MAX, i64::MAX) | (i32::MIN, i32::MIN, i64::MIN)) {
            return Err(ValueError::Unrepresentable("the interval is infinite"));
        }
        self.months.push(months);
        self.days.push(days);
        self.micros.push(micros);
        self.validity.push_valid();
        Ok(())
    }

    fn push_null(&mut self) {
        self.months.push(0);
        self.days.push(0);
        self.micros.push(0);
        self.validity.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        const DIFFER: ValueError = ValueError::Malformed("builder lengths differ");
        let nulls = self.validity.take();
        let parts = |values: &mut Vec<i32>| Int32Array::try_new(std::mem::take(values).into(), nulls.clone());
        let months = parts(&mut self.months).map_err(|_| DIFFER)?;
        let days = parts(&mut self.days).map_err(|_| DIFFER)?;
        let micros = Int64Array::try_new(std::mem::take(&mut self.micros).into(), nulls.clone()).map_err(|_| DIFFER)?;
        let arrays: Vec<ArrayRef> = vec![Arc::new(months), Arc::new(days), Arc::new(micros)];
        Ok(Arc::new(StructArray::try_new(interval_fields(), arrays, nulls).map_err(|_| DIFFER)?))
    }
}

/// A moment or a day that is moved into the years from 1 to 9999 where it lies outside, infinities among them; a time
/// that is moved into its day. Files hold more years, but not every reader does, and only so do the infinities keep
/// their place in the order.
pub(super) trait Moment: Wire {
    /// The first and the last value, as the file counts.
    const ENDS: [<Self::Arrow as ArrowPrimitiveType>::Native; 2];

    /// Whether bytes of the right width stand for something before all others.
    fn is_early(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|byte| byte & 0x80 != 0)
    }
}

impl Moment for super::primitive::Timestamp {
    // 0001-01-01 00:00:00 and 9999-12-31 23:59:59.999999
    const ENDS: [i64; 2] = [-62_135_596_800_000_000, 253_402_300_799_999_999];
}

impl Moment for super::primitive::Date {
    const ENDS: [i32; 2] = [-719_162, 2_932_896];
}

impl Moment for Time64 {
    const ENDS: [i64; 2] = [0, DAY - 1];
}

/// A builder of moments within [`Moment::ENDS`].
pub(super) struct Clamped<M: Moment> {
    values: Vec<<M::Arrow as ArrowPrimitiveType>::Native>,
    validity: Validity,
    data_type: DataType,
    counter: Arc<Counter>,
}

impl<M: Moment> Clamped<M> {
    /// An empty builder of arrays of `data_type`.
    pub(super) fn new(data_type: DataType, rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), validity: Validity::default(), data_type, counter: Arc::default() }
    }
}

impl<M> Builder for Clamped<M>
where
    M: Moment<Arrow: ArrowPrimitiveType<Native: Ord>>,
{
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let [first, last] = M::ENDS;
        let value = match M::decode(bytes) {
            Ok(value) if value < first => Err((first, "it is before the year 1")),
            Ok(value) if value > last => Err((last, "it is after the year 9999")),
            Ok(value) => Ok(value),
            Err(ValueError::Unrepresentable(why)) => Err((if M::is_early(bytes) { first } else { last }, why)),
            Err(malformed) => return Err(malformed),
        };
        self.values.push(value.unwrap_or_else(|(nearest, why)| {
            self.counter.add(Action::Clamped, why);
            nearest
        }));
        self.validity.push_valid();
        Ok(())
    }

    fn push_null(&mut self) {
        self.values.push(Default::default());
        self.validity.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        let array = PrimitiveArray::<M::Arrow>::try_new(
            ScalarBuffer::from(std::mem::take(&mut self.values)),
            self.validity.take(),
        );
        let array = array.map_err(|_| ValueError::Malformed("builder lengths differ"))?;
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }

    fn counters(&self, into: &mut Vec<Arc<Counter>>) {
        into.push(Arc::clone(&self.counter));
    }
}
