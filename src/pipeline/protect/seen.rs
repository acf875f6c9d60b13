//! Values that were searched before and held nothing: providers, road names and the like repeat themselves, and
//! looking one up is less work than searching it again.

/// The longest value that is remembered.
const LONGEST: usize = 63;
/// How many are, one for each hash.
const SLOTS: usize = 1024;
/// After so many questions it is decided whether asking pays.
const WINDOW: u32 = 4096;
/// For so many values a column that does not repeat itself is not asked about.
const REST: u32 = 16 * WINDOW;

/// One value with its length.
#[derive(Debug, Clone, Copy)]
struct Slot {
    length: u8,
    bytes: [u8; LONGEST],
}

/// A small memory of values, compared byte by byte: a value is only known if it was added.
#[derive(Debug)]
pub(super) struct Seen {
    slots: Box<[Slot]>,
    asked: u32,
    known: u32,
    resting: u32,
}

impl Default for Seen {
    fn default() -> Self {
        let empty = Slot { length: 0, bytes: [0; LONGEST] };
        Self { slots: vec![empty; SLOTS].into_boxed_slice(), asked: 0, known: 0, resting: 0 }
    }
}

impl Seen {
    /// Whether this value was added, as far as that is remembered. Not for the empty value.
    #[inline]
    pub(super) fn has(&mut self, value: &[u8]) -> bool {
        if value.len() > LONGEST {
            return false;
        }
        if self.resting > 0 {
            self.resting -= 1;
            return false;
        }
        let slot = &self.slots[place(value)];
        let known = usize::from(slot.length) == value.len() && slot.bytes[..value.len()] == *value;
        self.asked += 1;
        self.known += u32::from(known);
        if self.asked == WINDOW {
            if self.known < WINDOW / 4 {
                self.resting = REST;
            }
            (self.asked, self.known) = (0, 0);
        }
        known
    }

    /// Remembers a value instead of the one that has its place.
    #[inline]
    pub(super) fn add(&mut self, value: &[u8]) {
        let Ok(length) = u8::try_from(value.len()) else { return };
        if value.len() > LONGEST || self.resting > 0 {
            return;
        }
        let slot = &mut self.slots[place(value)];
        slot.length = length;
        slot.bytes[..value.len()].copy_from_slice(value);
    }
}

/// A value's place. Values that share one cost time, nothing else.
#[inline]
fn place(value: &[u8]) -> usize {
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let mut chunks = value.chunks_exact(8);
    let mut hash = value.len() as u64;
    for chunk in &mut chunks {
        hash = mix(hash, chunk.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    }
    hash = mix(hash, chunks.remainder().iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    // The best bits of a product are its upper ones.
    (hash >> 32) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_added_is_known() {
        let mut seen = Seen::default();
        let values: Vec<String> = (0..3000).map(|number| format!("road {number}")).collect();
        for value in &values {
            assert!(!seen.has(value.as_bytes()), "{value}");
            seen.add(value.as_bytes());
            assert!(seen.has(value.as_bytes()), "{value}");
        }
        // A beginning, an end, something longer.
        seen.add(b"abcdefghij");
        for other in ["abcdefghi", "bcdefghij", "abcdefghijk", "abcdefghiJ"] {
            assert!(!seen.has(other.as_bytes()), "{other}");
        }
        let long = [b'x'; LONGEST + 1];
        seen.add(&long);
        assert!(!seen.has(&long) && !seen.has(&long[1..]));
    }

    #[test]
    fn a_column_that_does_not_repeat_itself_is_left_in_peace_for_a_while() {
        let mut seen = Seen::default();
        for number in 0..WINDOW {
            let value = number.to_be_bytes();
            assert!(!seen.has(&value));
            seen.add(&value);
        }
        seen.add(b"again");
        assert_eq!(
            (0..REST)
                .filter(|_| {
                    let known = seen.has(b"again");
                    seen.add(b"again");
                    known
                })
                .count(),
            0
        );
        assert!(seen.has(b"again"));
    }
}
