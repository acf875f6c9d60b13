//! Reads what is inside a value that has parts. Nothing is believed before the bytes are there.

use super::ValueError;

/// What is left of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

const SHORT: ValueError = ValueError::Malformed("a value that ends within one of its parts");

impl<'a> Cursor<'a> {
    /// The next `N` bytes.
    #[inline]
    pub(super) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let (chunk, rest) = self.0.split_first_chunk::<N>().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*chunk)
    }

    /// A number with a sign.
    #[inline]
    pub(super) fn i32(&mut self) -> Result<i32, ValueError> {
        self.chunk().map(i32::from_be_bytes)
    }

    /// A number without one.
    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, ValueError> {
        self.chunk().map(u32::from_be_bytes)
    }

    /// A count of parts that take at least `width` bytes each, so that none can be counted that is not there.
    pub(super) fn count(&mut self, width: usize) -> Result<usize, ValueError> {
        let count = self.i32()?;
        usize::try_from(count)
            .ok()
            .filter(|&count| count.checked_mul(width).is_some_and(|bytes| bytes <= self.0.len()))
            .ok_or(ValueError::Malformed("a value with an impossible count of parts"))
    }

    /// A part behind its length; `None` for NULL.
    #[inline]
    pub(super) fn part(&mut self) -> Result<Option<&'a [u8]>, ValueError> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| ValueError::Malformed("a part of negative length"))?;
                let (part, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
                self.0 = rest;
                Ok(Some(part))
            }
        }
    }

    /// A part that cannot be NULL.
    pub(super) fn present(&mut self) -> Result<&'a [u8], ValueError> {
        self.part()?.ok_or(ValueError::Malformed("a NULL where there is none"))
    }

    /// That nothing is left.
    #[inline]
    pub(super) fn end(self) -> Result<(), ValueError> {
        if self.0.is_empty() { Ok(()) } else { Err(ValueError::Malformed("a value that goes on after its last part")) }
    }
}
