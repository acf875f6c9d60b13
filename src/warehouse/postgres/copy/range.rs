//! Ranges and multiranges: the forms are those of `range_send` and `multirange_send` in PostgreSQL's sources.
//!
//! A bound that is not there is NULL and not included; the empty range has no bounds.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, ListArray, StructArray};
use arrow::datatypes::{DataType, FieldRef, Fields};

use super::super::super::OnUnrepresentable;
use super::super::types::RangeOf;
use super::cursor::Cursor;
use super::fidelity::{Action, Counter};
use super::list::Offsets;
use super::validity::Validity;
use super::{Builder, Column, ValueError};

const EMPTY: u8 = 0x01;
const LOWER_INCLUDED: u8 = 0x02;
const UPPER_INCLUDED: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

/// A builder of ranges.
pub(super) struct Range {
    lower: Column,
    upper: Column,
    /// Lower included, upper included, empty.
    flags: [Vec<bool>; 3],
    fields: Fields,
    validity: Validity,
    on_unrepresentable: OnUnrepresentable,
    counter: Arc<Counter>,
}

impl Range {
    /// An empty builder of arrays of `data_type`, the structure of a range.
    pub(super) fn new(range: &RangeOf, data_type: DataType, rows: usize) -> Self {
        let fields = match data_type {
            DataType::Struct(fields) => fields,
            _ => Fields::empty(),
        };
        let bound = || Column::new(&range.bound, range.bound.data_type(), rows);
        Self {
            lower: bound(),
            upper: bound(),
            flags: Default::default(),
            fields,
            validity: Validity::default(),
            on_unrepresentable: range.on_unrepresentable,
            counter: Arc::default(),
        }
    }

    fn push_flags(&mut self, flags: [bool; 3]) {
        for (values, flag) in self.flags.iter_mut().zip(flags) {
            values.push(flag);
        }
    }
}

/// A bound, if there is one. What cannot be represented leaves a NULL behind, and says why.
fn bound(column: &mut Column, there: bool, rest: &mut Cursor<'_>) -> Result<Option<&'static str>, ValueError> {
    if !there {
        column.push_null();
        return Ok(None);
    }
    match column.push(rest.present()?) {
        Err(ValueError::Unrepresentable(why)) => {
            column.push_null();
            Ok(Some(why))
        }
        done => done.map(|()| None),
    }
}

impl Builder for Range {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let mut rest = Cursor(bytes);
        let [flags] = rest.chunk()?;
        let has = |flag| flags & flag != 0;
        // The upper three bits are for the server's own indexes.
        if flags >> 5 != 0 || (has(EMPTY) && flags != EMPTY) {
            return Err(ValueError::Malformed("a range with impossible flags"));
        }
        if (has(LOWER_INFINITE) && has(LOWER_INCLUDED)) || (has(UPPER_INFINITE) && has(UPPER_INCLUDED)) {
            return Err(ValueError::Malformed("a range that includes a bound that it has not"));
        }
        let lower = bound(&mut self.lower, !has(EMPTY | LOWER_INFINITE), &mut rest)?;
        let upper = bound(&mut self.upper, !has(EMPTY | UPPER_INFINITE), &mut rest)?;
        rest.end()?;
        self.push_flags([has(LOWER_INCLUDED), has(UPPER_INCLUDED), has(EMPTY)]);
        match (lower.or(upper), self.on_unrepresentable) {
            (None, _) => self.validity.push_valid(),
            (Some(why), OnUnrepresentable::Null) => {
                self.counter.add(Action::Nulled, why);
                self.validity.push_null();
            }
            (Some(why), _) => return Err(ValueError::Unrepresentable(why)),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        self.lower.push_null();
        self.upper.push_null();
        self.push_flags([false; 3]);
        self.validity.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        let nulls = self.validity.take();
        let mut arrays = vec![self.lower.take()?, self.upper.take()?];
        for values in &mut self.flags {
            arrays.push(Arc::new(BooleanArray::new(std::mem::take(values).into(), nulls.clone())));
        }
        let array = StructArray::try_new(self.fields.clone(), arrays, nulls)
            .map_err(|_| ValueError::Malformed("builder lengths differ"))?;
        Ok(Arc::new(array))
    }

    fn counters(&self, into: &mut Vec<Arc<Counter>>) {
        into.push(Arc::clone(&self.counter));
        self.lower.counters(into);
        self.upper.counters(into);
    }
}

/// A builder of lists of ranges.
pub(super) struct Multirange {
    ranges: Range,
    field: FieldRef,
    offsets: Offsets,
    validity: Validity,
}

impl Multirange {
    /// An empty builder of arrays of `data_type`, a list of ranges.
    pub(super) fn new(range: &RangeOf, data_type: DataType, rows: usize) -> Self {
        let field = match data_type {
            DataType::List(field) => field,
            other => Arc::new(arrow::datatypes::Field::new("element", other, true)),
        };
        Self {
            ranges: Range::new(range, field.data_type().clone(), rows),
            field,
            offsets: Offsets::new(rows),
            validity: Validity::default(),
        }
    }
}

impl Builder for Multirange {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let mut rest = Cursor(bytes);
        // Each has its length and its flags.
        let count = rest.count(5)?;
        for _ in 0..count {
            self.ranges.push(rest.present()?)?;
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
        let field = Arc::clone(&self.field);
        let array = ListArray::try_new(field, self.offsets.take(), self.ranges.take()?, self.validity.take())
            .map_err(|_| ValueError::Malformed("builder lengths differ"))?;
        Ok(Arc::new(array))
    }

    fn counters(&self, into: &mut Vec<Arc<Counter>>) {
        self.ranges.counters(into);
    }
}
