//! The cheap byte test: one pass over a value's bytes says which detectors could find anything in it at all.
//!
//! It may let a detector look in vain; it must never keep one from a finding. A property test compares the findings
//! with and without it.

use super::entity::Entity;

const DIGIT: u16 = 1;
const LETTER: u16 = 2;
const AT: u16 = 4;
const PERCENT: u16 = 8;
const PLUS: u16 = 16;
const EQUALS: u16 = 32;
const SLASH: u16 = 64;
const WIDE: u16 = 128;
const PAREN: u16 = 256;

const fn class(byte: u8) -> u16 {
    match byte {
        b'0'..=b'9' => DIGIT,
        b'a'..=b'z' | b'A'..=b'Z' => LETTER,
        b'@' => AT,
        b'%' => PERCENT,
        b'+' => PLUS,
        b'=' => EQUALS,
        b'/' => SLASH,
        b'(' => PAREN,
        0x80..=0xff => WIDE,
        _ => 0,
    }
}

/// Four numbers of 16 bits in one word, so that one operation serves all of them.
const fn lanes(first: u64, second: u64, third: u64, fourth: u64) -> u64 {
    first | second << 16 | third << 32 | fourth << 48
}

/// What one byte does to the counters and runs of a value.
#[derive(Clone, Copy)]
struct Effect {
    class: u16,
    /// Added to the counters of digits, colons, dots and dashes.
    count: u64,
    /// Which runs go on: words, tokens, chains. A word is letters and digits; a token has `_`, `-` and `.` as well; a
    /// chain is digits in groups, and only its digits count.
    keep: u64,
    /// Added to the runs.
    add: u64,
}

const EFFECTS: [Effect; 256] = {
    let mut table = [Effect { class: 0, count: 0, keep: 0, add: 0 }; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let digit = byte.is_ascii_digit();
        let word = byte.is_ascii_alphanumeric();
        let token = word || matches!(byte, b'_' | b'-' | b'.');
        // A byte of a character beyond ASCII may be part of a typographic space or dash.
        let joins = matches!(byte, b' ' | b'-' | 0x80..);
        table[index] = Effect {
            class: class(byte),
            count: lanes(digit as u64, (byte == b':') as u64, (byte == b'.') as u64, (byte == b'-') as u64),
            keep: lanes(ALL_IF[word as usize], ALL_IF[token as usize], ALL_IF[(digit || joins) as usize], 0),
            add: lanes(word as u64, token as u64, digit as u64, 0),
        };
        index += 1;
    }
    table
};

const ALL_IF: [u64; 2] = [0, 0xffff];

/// Added to runs, sets the highest bit of those that are at least so long.
const fn reach(word: u64, token: u64, chain: u64) -> u64 {
    lanes(0x8000 - word, 0x8000 - token, 0x8000 - chain, 0)
}

/// Whether a run was ever so long that its highest bit was set.
const fn reached(runs: u64, lane: u32) -> bool {
    runs >> (16 * lane) & 0x8000 != 0
}

const WORD: u32 = 0;
const TOKEN: u32 = 1;
const CHAIN: u32 = 2;

/// The length up to which no counter or run can overflow. Longer values are looked at by every detector.
const COUNTED: usize = 30_000;

/// A set of detectors, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted(u32);

impl Wanted {
    /// Every detector.
    pub(super) const ALL: Wanted = Wanted(u32::MAX);

    pub(super) const fn none() -> Self {
        Self(0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, entity: Entity) -> bool {
        self.0 & (1 << entity as u32) != 0
    }

    pub(super) fn with(self, entity: Entity) -> Self {
        Self(self.0 | 1 << entity as u32)
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn when(self, condition: bool, entity: Entity) -> Self {
        Self(self.0 | u32::from(condition) << entity as u32)
    }
}

/// The detectors that could find anything in these bytes.
pub(super) fn wanted(value: &[u8]) -> Wanted {
    if value.len() > COUNTED {
        return Wanted::ALL;
    }
    // Nothing that is looked for has fewer than three bytes, such as `::1`.
    if value.len() < 3 {
        return Wanted::none();
    }
    let mut seen = 0_u16;
    let mut counts = 0_u64;
    let (mut runs, mut short, mut long) = (0_u64, 0_u64, 0_u64);
    for &byte in value {
        let effect = &EFFECTS[usize::from(byte)];
        seen |= effect.class;
        counts += effect.count;
        runs = (runs & effect.keep) + effect.add;
        short |= runs + reach(12, 14, 9);
        long |= runs + reach(17, 16, 12);
    }
    let lane = |position: u32| (counts >> (16 * position)) & 0xffff;
    let (digits, colons, dots, dashes) = (lane(0), lane(1), lane(2), lane(3));
    let has = |classes: u16| seen & classes != 0;
    let pairs = colons >= 5 || dashes >= 5;
    Wanted::none()
        .when(has(AT | PERCENT), Entity::Email)
        .when(has(EQUALS) || has(AT) && has(SLASH) && colons > 0, Entity::UrlCredentials)
        .when(dots >= 3 && digits >= 4, Entity::Ipv4)
        .when(colons >= 6 || colons >= 2 && double_colon(value), Entity::Ipv6)
        .when(pairs || reached(short, WORD) && has(LETTER) || dots >= 2 && reached(short, TOKEN), Entity::Mac)
        .when(reached(long, CHAIN), Entity::Card)
        .when(reached(short, CHAIN) && (dashes >= 2 || has(LETTER)), Entity::UsSsn)
        .when(digits >= 6 && has(PLUS | PAREN | LETTER | WIDE) || reached(short, CHAIN), Entity::Phone)
        .when(digits >= 2 && has(LETTER) && value.len() >= 15, Entity::Iban)
        .when(reached(long, WORD), Entity::Vin)
        .when(reached(long, TOKEN) || value.len() >= 26 && dashes >= 10, Entity::CloudKey)
        .when(dots >= 2 && reached(long, TOKEN), Entity::Jwt)
}

fn double_colon(value: &[u8]) -> bool {
    value.windows(2).any(|pair| pair == b"::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_and_numbers_want_nothing() {
        for clean in ["", "A4", "Main Street", "Karl-Marx-Allee", "13.3771", "10459", "north", "Straße", "52.5,13.4"] {
            assert!(wanted(clean.as_bytes()).is_empty(), "{clean}: {:b}", wanted(clean.as_bytes()).0);
        }
    }

    #[test]
    fn long_values_want_everything() {
        assert_eq!(wanted(&vec![b' '; COUNTED + 1]), Wanted::ALL);
    }
}
