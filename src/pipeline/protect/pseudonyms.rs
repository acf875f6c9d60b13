//! The pseudonyms of whole columns. Vehicles, drivers and trips come again and again: what was made for a value is
//! remembered, since hashing it takes longer than everything else that is done to its row.

use std::fmt;

use classification::actions::{Domain, Token};

use super::act::Beside;
use super::seen::hash;

/// The longest value that is remembered.
const LONGEST: usize = 27;
/// Two values with the same place in the memory are both remembered.
type Set = [Slot; 2];
/// How many such places there are: 1.5 MiB, for all columns of a scan together.
const SETS: usize = 16 << 10;

/// One value and what was made for it.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// Who made it; nobody has 0.
    maker: u32,
    length: u8,
    value: [u8; LONGEST],
    token: Token,
}

/// What was made lately. Values are compared byte by byte, so one that shares its place with another costs time and
/// nothing else.
#[derive(Default)]
pub(super) struct Known {
    sets: Box<[Set]>,
    makers: u32,
}

impl fmt::Debug for Known {
    /// Never a value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known(…)")
    }
}

impl Known {
    /// A number for somebody who makes others; 0 when there are no more, whose values are not remembered.
    fn enrol(&mut self) -> u32 {
        if self.sets.is_empty() {
            self.sets = vec![Set::default(); SETS].into_boxed_slice();
        }
        self.makers = self.makers.checked_add(1).unwrap_or(0);
        self.makers
    }

    /// What this maker made for this value, made now unless it is remembered.
    fn token(&mut self, maker: u32, value: &[u8], make: impl FnOnce() -> Token) -> Token {
        if maker == 0 || value.len() > LONGEST {
            return make();
        }
        let length = value.len();
        let set = &mut self.sets[(hash(value) ^ maker as usize) % SETS];
        let is =
            |slot: &Slot| slot.maker == maker && usize::from(slot.length) == length && slot.value[..length] == *value;
        if let Some(slot) = set.iter().find(|slot| is(slot)) {
            return slot.token;
        }
        let mut slot = Slot { maker, length: length as u8, token: make(), ..Slot::default() };
        slot.value[..length].copy_from_slice(value);
        set[1] = set[0];
        set[0] = slot;
        slot.token
    }
}

/// Makes the pseudonyms of one column.
#[derive(Debug)]
pub(super) struct Maker {
    domain: String,
    per_day: bool,
    ready: Option<Ready>,
}

/// What it needs for the rows of one day, or of all.
#[derive(Debug)]
struct Ready {
    day: Option<String>,
    domain: Domain,
    number: u32,
}

impl Maker {
    /// Of pseudonyms in this domain, others on each day if they are to be.
    pub(super) fn new(domain: &str, per_day: bool) -> Self {
        Self { domain: domain.to_owned(), per_day, ready: None }
    }

    /// The token of a text, or of the bytes of a UUID; `None` without a key, and without the day that it needs.
    pub(super) fn token(&mut self, row: usize, value: &[u8], beside: &Beside<'_>, known: &mut Known) -> Option<Token> {
        let Ready { domain, number, .. } = self.ready(row, beside, known)?;
        Some(known.token(*number, value, || domain.token(value)))
    }

    /// The token of an integer.
    pub(super) fn token_of(&mut self, row: usize, value: i64, beside: &Beside<'_>, known: &mut Known) -> Option<Token> {
        let Ready { domain, number, .. } = self.ready(row, beside, known)?;
        Some(known.token(*number, &value.to_be_bytes(), || domain.token_of(value)))
    }

    fn ready(&mut self, row: usize, beside: &Beside<'_>, known: &mut Known) -> Option<&Ready> {
        let day = if self.per_day { Some(beside.days.of(row)?) } else { None };
        if self.ready.as_ref().is_none_or(|ready| ready.day.as_deref() != day.as_deref()) {
            let domain = beside.pseudonyms?.within(&self.domain, day.as_deref());
            self.ready = Some(Ready { day: day.map(|day| day.to_string()), domain, number: known.enrol() });
        }
        self.ready.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Date32Array;
    use classification::actions::Pseudonymiser;
    use proptest::prelude::*;

    use super::super::days::Days;
    use super::*;

    proptest! {
        /// Many values for few places, of two columns of one domain and one of another, on two days.
        #[test]
        fn what_is_remembered_is_what_would_be_made(
            rows in prop::collection::vec((0_usize..3, 0_i32..2, 0_u8..40, 0_usize..40), 1..200),
        ) {
            let key = Pseudonymiser::new(&[7; 32]).unwrap();
            let mut makers = [Maker::new("trip", false), Maker::new("trip", true), Maker::new("driver", false)];
            let mut known = Known::default();
            let array = Date32Array::from_iter_values(rows.iter().map(|row| row.1));
            let days = Days::new(Some(&array));
            let beside = Beside { pseudonyms: Some(&key), days: &days };
            for (row, (maker, day, byte, length)) in rows.iter().enumerate() {
                let value = vec![*byte; *length];
                let day = (*maker == 1).then(|| format!("1970-01-0{}", day + 1));
                let within = key.within(if *maker == 2 { "driver" } else { "trip" }, day.as_deref());
                let made = makers[*maker].token(row, &value, &beside, &mut known);
                prop_assert_eq!(made, Some(within.token(&value)));
                let number = i64::from(*byte) << 8 | *length as i64;
                let made = makers[*maker].token_of(row, number, &beside, &mut known);
                prop_assert_eq!(made, Some(within.token_of(number)));
            }
        }
    }

    #[test]
    fn what_comes_again_is_not_made_again_unless_it_is_long() {
        let mut known = Known::default();
        let maker = known.enrol();
        for (value, made) in [(&[1_u8; LONGEST][..], 1), (&[1; LONGEST + 1][..], 3), (&[][..], 1)] {
            let mut times = 0;
            for _ in 0..3 {
                known.token(maker, value, || {
                    times += 1;
                    Token::default()
                });
            }
            assert_eq!(times, made, "{}", value.len());
        }
    }
}
