//! Building columns of text: from stretches of another column, and values between them.

use std::ops::Range;

use arrow::array::{Array, NullBufferBuilder, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::ArrowNativeType;

/// A column whose changed values are longer than a batch can hold: 2 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// A column of text in the making.
#[derive(Debug)]
pub(super) struct Texts {
    values: Vec<u8>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Texts {
    /// An empty one with room for a column like this.
    pub(super) fn like(array: &StringArray) -> Self {
        let bytes = array.value_offsets();
        let bytes = (bytes[array.len()] - bytes[0]).as_usize();
        let mut offsets = Vec::with_capacity(array.len() + 1);
        offsets.push(0);
        Self { values: Vec::with_capacity(bytes), offsets, nulls: NullBufferBuilder::new(array.len()) }
    }

    /// Adds a value; `None` is NULL.
    pub(super) fn push(&mut self, text: Option<&str>) -> Result<(), TooLong> {
        self.write(|out| text.map(|text| out.extend_from_slice(text.as_bytes())).is_some())
    }

    /// Adds a value that `value` writes behind the others; it says whether it has, otherwise the value is NULL.
    #[inline]
    pub(super) fn write(&mut self, value: impl FnOnce(&mut Vec<u8>) -> bool) -> Result<(), TooLong> {
        let start = self.values.len();
        let valid = value(&mut self.values);
        if !valid {
            // Nothing stands behind a NULL.
            self.values.truncate(start);
        }
        self.nulls.append(valid);
        self.offsets.push(i32::try_from(self.values.len()).map_err(|_| TooLong)?);
        Ok(())
    }

    /// Adds rows of a column as they are.
    #[inline]
    pub(super) fn copy(&mut self, array: &StringArray, rows: Range<usize>) -> Result<(), TooLong> {
        if rows.is_empty() {
            return Ok(());
        }
        let offsets = &array.value_offsets()[rows.start..=rows.end];
        let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
        let start = i32::try_from(self.values.len()).map_err(|_| TooLong)?;
        start.checked_add(last - first).ok_or(TooLong)?;
        self.values.extend_from_slice(&array.value_data()[first.as_usize()..last.as_usize()]);
        self.offsets.extend(offsets[1..].iter().map(|offset| start + (offset - first)));
        match array.nulls() {
            Some(nulls) => rows.for_each(|row| self.nulls.append(nulls.is_valid(row))),
            None => self.nulls.append_n_non_nulls(rows.len()),
        }
        Ok(())
    }

    /// The column.
    pub(super) fn finish(mut self) -> StringArray {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        StringArray::new(offsets, Buffer::from_vec(self.values), self.nulls.finish())
    }
}

/// A column with other values in some rows, which are in order; `None` is NULL.
pub(super) fn patch(array: &StringArray, changes: &[(usize, Option<String>)]) -> Result<StringArray, TooLong> {
    let mut texts = Texts::like(array);
    let mut behind = 0;
    for (row, text) in changes {
        texts.copy(array, behind..*row)?;
        texts.push(text.as_deref())?;
        behind = row + 1;
    }
    texts.copy(array, behind..array.len())?;
    Ok(texts.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_patched_column_differs_where_it_was_patched(
            rows in prop::collection::vec((prop::option::of("\\PC{0,4}"), prop::option::of(prop::option::of("\\PC{0,9}"))), 1..20),
            from in 0_usize..20,
        ) {
            let from = from.min(rows.len());
            let before: StringArray = rows.iter().map(|(text, _)| text.clone()).collect();
            let before = before.slice(from, rows.len() - from);
            let rows = &rows[from..];
            let changes: Vec<_> =
                rows.iter().enumerate().filter_map(|(row, (_, change))| Some((row, change.clone()?))).collect();
            let want: StringArray = rows.iter().map(|(text, change)| change.clone().unwrap_or(text.clone())).collect();
            prop_assert_eq!(patch(&before, &changes).unwrap(), want);
        }
    }
}
