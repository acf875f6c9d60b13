//! Values of any length: text, JSON and bytes; and those of fixed form that are written as text: UUIDs and times.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use super::validity::Validity;
use super::{Builder, ValueError, fixed};

/// Offsets and bytes, one after the other.
#[derive(Debug)]
pub(super) struct Bytes {
    offsets: Vec<i32>,
    data: Vec<u8>,
    validity: Validity,
}

/// What [`Bytes`] gives away.
type Parts = (OffsetBuffer<i32>, Buffer, Option<arrow::buffer::NullBuffer>);

impl Bytes {
    /// An empty builder for about `capacity` values of about `width` bytes.
    pub(super) fn new(capacity: usize, width: usize) -> Self {
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(0);
        Self { offsets, data: Vec::with_capacity(capacity * width), validity: Validity::default() }
    }

    /// Appends to the value under way; [`Self::close`] ends it.
    #[inline]
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    /// Ends a value.
    #[inline]
    pub(super) fn close(&mut self) -> Result<(), ValueError> {
        let end = i32::try_from(self.data.len())
            .map_err(|_| ValueError::Unrepresentable("a row group of it is over 2 GiB"))?;
        self.offsets.push(end);
        self.validity.push_valid();
        Ok(())
    }

    #[inline]
    pub(super) fn push_null(&mut self) {
        let end = self.offsets[self.offsets.len() - 1];
        self.offsets.push(end);
        self.validity.push_null();
    }

    fn take_parts(&mut self) -> Parts {
        let (values, bytes) = (self.offsets.len(), self.data.len());
        // The next batch will be much like this one: a little more room than this one took saves it a copy.
        let mut next = Vec::with_capacity(values);
        next.push(0);
        let offsets = std::mem::replace(&mut self.offsets, next);
        let data = std::mem::replace(&mut self.data, Vec::with_capacity(bytes + bytes / 16));
        (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(data), self.validity.take())
    }

    /// The values as text.
    pub(super) fn take_text(&mut self) -> Result<ArrayRef, ValueError> {
        let (offsets, data, nulls) = self.take_parts();
        // A database in SQL_ASCII sends whatever was once put in.
        let array = StringArray::try_new(offsets, data, nulls)
            .map_err(|_| ValueError::Unrepresentable("the text is not valid UTF-8"))?;
        Ok(Arc::new(array))
    }
}

/// Texts of every kind, sent as they are.
#[derive(Debug)]
pub(super) struct Text(pub(super) Bytes);

impl Builder for Text {
    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        self.0.extend(bytes);
        self.0.close()
    }

    #[inline]
    fn push_null(&mut self) {
        self.0.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        self.0.take_text()
    }
}

/// `jsonb`: a version byte, then the document as text.
#[derive(Debug)]
pub(super) struct Jsonb(pub(super) Bytes);

impl Builder for Jsonb {
    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let [1, text @ ..] = bytes else {
            return Err(ValueError::Malformed("jsonb of a version that is not known"));
        };
        self.0.extend(text);
        self.0.close()
    }

    #[inline]
    fn push_null(&mut self) {
        self.0.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        self.0.take_text()
    }
}

/// `bytea`.
#[derive(Debug)]
pub(super) struct Bytea(pub(super) Bytes);

impl Builder for Bytea {
    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        self.0.extend(bytes);
        self.0.close()
    }

    #[inline]
    fn push_null(&mut self) {
        self.0.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        let (offsets, data, nulls) = self.0.take_parts();
        let array =
            BinaryArray::try_new(offsets, data, nulls).map_err(|_| ValueError::Malformed("builder lengths differ"))?;
        Ok(Arc::new(array))
    }
}

/// `uuid` as its 36 characters, in lower case.
#[derive(Debug)]
pub(super) struct UuidText(pub(super) Bytes);

impl Builder for UuidText {
    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let text = uuid::Uuid::from_bytes(fixed(bytes)?);
        let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
        self.0.extend(text.hyphenated().encode_lower(&mut buffer).as_bytes());
        self.0.close()
    }

    #[inline]
    fn push_null(&mut self) {
        self.0.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        self.0.take_text()
    }
}

/// `time` as `HH:MM:SS.ffffff`; the end of the day is `24:00:00.000000`.
#[derive(Debug)]
pub(super) struct TimeText(pub(super) Bytes);

impl Builder for TimeText {
    #[inline]
    fn push(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        self.0.extend(&time_text(i64::from_be_bytes(fixed(bytes)?))?);
        self.0.close()
    }

    #[inline]
    fn push_null(&mut self) {
        self.0.push_null();
    }

    fn take(&mut self) -> Result<ArrayRef, ValueError> {
        self.0.take_text()
    }
}

/// Microseconds of a day as `HH:MM:SS.ffffff`.
pub(super) fn time_text(micros: i64) -> Result<[u8; 15], ValueError> {
    if !(0..=86_400_000_000).contains(&micros) {
        return Err(ValueError::Malformed("a time outside the day"));
    }
    let (seconds, mut fraction) = (micros / 1_000_000, micros % 1_000_000);
    let mut text = *b"00:00:00.000000";
    for (place, value) in [(0, seconds / 3600), (3, seconds / 60 % 60), (6, seconds % 60)] {
        text[place] += (value / 10) as u8;
        text[place + 1] += (value % 10) as u8;
    }
    for digit in text[9..].iter_mut().rev() {
        *digit += (fraction % 10) as u8;
        fraction /= 10;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_places() {
        for (micros, want) in [
            (0, Some("00:00:00.000000")),
            (1, Some("00:00:00.000001")),
            (45_296_789_000, Some("12:34:56.789000")),
            (86_399_999_999, Some("23:59:59.999999")),
            (86_400_000_000, Some("24:00:00.000000")),
            (86_400_000_001, None),
            (-1, None),
        ] {
            let text = time_text(micros).ok();
            assert_eq!(text.as_ref().map(|text| std::str::from_utf8(text).unwrap()), want, "{micros}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error_and_not_repaired() {
        let mut text = Text(Bytes::new(2, 2));
        // Split in the middle of a character: the whole is valid, the parts are not.
        text.push(&[0xc3]).unwrap();
        text.push(&[0xbc]).unwrap();
        assert!(matches!(text.take(), Err(ValueError::Unrepresentable(_))));
    }
}
