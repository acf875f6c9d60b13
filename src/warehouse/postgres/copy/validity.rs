//! Which values of a column are there. Costs nothing until the first NULL.

use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};

/// A bitmap that comes into being with the first NULL.
#[derive(Debug, Default)]
pub(super) struct Validity {
    /// One bit a value, set for those that are there; empty as long as all are.
    bits: Vec<u8>,
    len: usize,
}

impl Validity {
    /// The next value is there.
    #[inline]
    pub(super) fn push_valid(&mut self) {
        if !self.bits.is_empty() {
            self.push_bit(true);
        }
        self.len += 1;
    }

    /// The next value is NULL.
    #[inline]
    pub(super) fn push_null(&mut self) {
        if self.bits.is_empty() {
            // All values so far were there; the bits beyond the length are written as they come.
            self.bits.resize(self.len / 8 + 1, 0xff);
            self.bits[self.len / 8] &= !(0xff << (self.len % 8)) as u8;
        }
        self.push_bit(false);
        self.len += 1;
    }

    #[inline]
    fn push_bit(&mut self, valid: bool) {
        let byte = self.len / 8;
        if byte == self.bits.len() {
            self.bits.push(0);
        }
        self.bits[byte] |= u8::from(valid) << (self.len % 8);
    }

    /// The bitmap of everything since the last call; `None` where nothing is NULL.
    pub(super) fn take(&mut self) -> Option<NullBuffer> {
        let len = std::mem::take(&mut self.len);
        if self.bits.is_empty() {
            return None;
        }
        let bits = std::mem::take(&mut self.bits);
        Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, len)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keeps_what_was_pushed(values in prop::collection::vec(any::<bool>(), 0..100), again in prop::collection::vec(any::<bool>(), 0..40)) {
            let mut validity = Validity::default();
            for values in [values, again] {
                for &valid in &values {
                    if valid { validity.push_valid() } else { validity.push_null() }
                }
                match validity.take() {
                    None => prop_assert!(values.iter().all(|&valid| valid)),
                    Some(nulls) => {
                        prop_assert!(values.contains(&false));
                        prop_assert_eq!(nulls.iter().collect::<Vec<_>>(), values);
                    }
                }
            }
        }
    }
}
