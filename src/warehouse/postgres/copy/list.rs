//! Arrays, of one dimension and with the indexes that literals give them.
//! The form is that of `array_send` in PostgreSQL's `arrayfuncs.c`.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef};

use super::super::types::ListOf;
use super::cursor::Cursor;
use super::fidelity::Counter;
use super::validity::Validity;
use super::{Builder, Column, ValueError};

/// The most dimensions that PostgreSQL has.
const MOST_DIMENSIONS: i32 = 6;
const BOUND: &str = "the array's indexes begin elsewhere";

/// Where lists of anything end in the values of all.
pub(super) struct Offsets(Vec<i32>);

impl Offsets {
    /// Room for so many lists.
    pub(super) fn new(capacity: usize) -> Self {
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(0);
        Self(offsets)
    }

    /// Ends a list that has so many items.
    pub(super) fn close(&mut self, items: usize) -> Result<(), ValueError> {
        let end = i32::try_from(items)
            .ok()
            .and_then(|items| self.0[self.0.len() - 1].checked_add(items))
            .ok_or(ValueError::Unrepresentable("a row group of it has over 2^31 items"))?;
        self.0.push(end);
        Ok(())
    }

    /// A list that is not there.
    pub(super) fn close_null(&mut self) {
        self.0.push(self.0[self.0.len() - 1]);
    }

    /// All since the last call.
    pub(super) fn take(&mut self) -> OffsetBuffer<i32> {
        let next = Self::new(self.0.len()).0;
        OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.0, next)))
    }
}

/// A builder of lists.
pub(super) struct List {
    items: Box<Column>,
    field: FieldRef,
    offsets: Offsets,
    validity: Validity,
    oid: u32,
    first: i32,
}

impl List {
    /// An empty builder of arrays of `data_type`, which is a list.
    pub(super) fn new(list: &ListOf, data_type: DataType, rows: usize) -> Self {
        let field = match data_type {
            DataType::List(field) => field,
            _ => Arc::new(list.item.field("element", &[])),
        };
        Self {
            items: Box::new(Column::new(&list.item, field.data_type().clone(), rows)),
            field,
            offsets: Offsets::new(rows),
            validity: Validity::default(),
            oid: list.oid,
            first: list.first,
        }
    }

    fn push_any(&mut self, bytes: &[u8], any_first: bool) -> Result<(), ValueError> {
        let mut rest = Cursor(bytes);
        let dimensions = rest.i32()?;
        let flags = rest.u32()?;
        if rest.u32()? != self.oid {
            return Err(ValueError::Malformed("an array of another type than was planned"));
        }
        if !(0..=MOST_DIMENSIONS).contains(&dimensions) || flags > 1 {
            return Err(ValueError::Malformed("an array with an impossible head"));
        }
        if dimensions > 1 {
            return Err(ValueError::Unrepresentable("the array has more than one dimension"));
        }
        let mut count = 0;
        if dimensions == 1 {
            let [items, first] = [rest.i32()?, rest.i32()?];
            if first != self.first && !any_first {
                return Err(ValueError::Unrepresentable(BOUND));
            }
            // Each item has at least its length.
            count = usize::try_from(items)
                .ok()
                .filter(|&count| count <= rest.0.len() / 4)
                .ok_or(ValueError::Malformed("an array with an impossible count of items"))?;
        }
        for _ in 0..count {
            match rest.part()? {
                Some(item) => self.items.push(item)?,
                None => self.items.push_null(),
            }
        }
        rest.end()?;
        self.offsets.close(count)?;
        self.validity.push_valid();
        Ok(())
    }
}

impl Builder for List {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        self.push_any(bytes, false)
    }

    /// Indexes that begin elsewhere are left out: the items and their order stay. More dimensions have no list that
    /// is near to them.
    fn push_nearest(&mut self, bytes: &[u8], why: &'static str) -> Result<(), ValueError> {
        if why == BOUND { self.push_any(bytes, true) } else { Err(ValueError::Unrepresentable(why)) }
    }

    fn push_null(&mut self) {
        self.offsets.close_null();
        self.validity.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        let array =
            ListArray::try_new(Arc::clone(&self.field), self.offsets.take(), self.items.take()?, self.validity.take())
                .map_err(|_| ValueError::Malformed("builder lengths differ"))?;
        Ok(Arc::new(array))
    }

    fn counters(&self, into: &mut Vec<Arc<Counter>>) {
        self.items.counters(into);
    }
}
