//! The pseudonyms of whole columns: what they all begin with is hashed once, and each value behind it.

use classification::actions::{Domain, Token};

use super::act::Beside;

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
}

impl Maker {
    /// Of pseudonyms in this domain, others on each day if they are to be.
    pub(super) fn new(domain: &str, per_day: bool) -> Self {
        Self { domain: domain.to_owned(), per_day, ready: None }
    }

    /// The token of a text, or of the bytes of a UUID; `None` without a key, and without the day that it needs.
    pub(super) fn token(&mut self, row: usize, value: &[u8], beside: &Beside<'_>) -> Option<Token> {
        Some(self.ready(row, beside)?.token(value))
    }

    /// The token of an integer.
    pub(super) fn token_of(&mut self, row: usize, value: i64, beside: &Beside<'_>) -> Option<Token> {
        Some(self.ready(row, beside)?.token_of(value))
    }

    fn ready(&mut self, row: usize, beside: &Beside<'_>) -> Option<&Domain> {
        let day = if self.per_day { Some(beside.days.of(row)?) } else { None };
        if self.ready.as_ref().is_none_or(|ready| ready.day.as_deref() != day.as_deref()) {
            let domain = beside.pseudonyms?.within(&self.domain, day.as_deref());
            self.ready = Some(Ready { day: day.map(|day| day.to_string()), domain });
        }
        self.ready.as_ref().map(|ready| &ready.domain)
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
        /// Days that come and go, in columns of one domain and of another.
        #[test]
        fn what_is_kept_ready_is_what_would_be_made(
            rows in prop::collection::vec((0_usize..3, 0_i32..2, any::<i64>()), 1..50),
        ) {
            let key = Pseudonymiser::new(&[7; 32]).unwrap();
            let mut makers = [Maker::new("trip", false), Maker::new("trip", true), Maker::new("driver", false)];
            let array = Date32Array::from_iter_values(rows.iter().map(|row| row.1));
            let days = Days::new(Some(&array));
            let beside = Beside { pseudonyms: Some(&key), days: &days };
            for (row, (maker, day, number)) in rows.iter().enumerate() {
                let day = (*maker == 1).then(|| format!("1970-01-0{}", day + 1));
                let within = key.within(if *maker == 2 { "driver" } else { "trip" }, day.as_deref());
                let value = number.to_be_bytes();
                prop_assert_eq!(makers[*maker].token(row, &value, &beside), Some(within.token(&value)));
                prop_assert_eq!(makers[*maker].token_of(row, *number, &beside), Some(within.token_of(*number)));
            }
        }
    }
}
