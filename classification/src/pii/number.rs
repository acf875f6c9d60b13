//! Payment cards and social security numbers: digits in groups.

use super::entity::{Entity, Finding};
use super::text::{Separator, after_point, before_point, ends_word, hinted, separator, starts_word};

/// A run of digits.
#[derive(Debug, Clone, Copy)]
struct Group {
    start: usize,
    end: usize,
    /// What joins it to the run before; `None` for the first of a chain.
    joined: Option<Separator>,
}

impl Group {
    fn len(self) -> usize {
        self.end - self.start
    }
}

/// The groups in which cards are printed and typed.
const CARD_SHAPES: &[&[usize]] = &[
    &[4, 4, 4, 4],
    &[4, 4, 4, 4, 3],
    &[4, 4, 4, 4, 2],
    &[4, 4, 4, 4, 1],
    &[4, 6, 5],
    &[4, 6, 4],
    &[4, 4, 4, 3],
    &[4, 4, 4, 2],
    &[4, 4, 4, 1],
    &[4, 3, 3, 3],
    &[4, 5, 6],
    &[6, 13],
    &[6, 10],
    &[8, 8],
];

const SSN_HINTS: &[&str] = &["ssn", "social security", "soc sec", "social security number", "ss"];

/// Calls `each` with every chain of digit groups that single separators join.
fn chains(bytes: &[u8], mut each: impl FnMut(&[Group])) {
    let mut chain: Vec<Group> = Vec::with_capacity(8);
    let mut position = 0;
    while position < bytes.len() {
        if !bytes[position].is_ascii_digit() {
            position += 1;
            continue;
        }
        let start = position;
        while bytes.get(position).is_some_and(u8::is_ascii_digit) {
            position += 1;
        }
        let joined = chain.last().and_then(|last| match separator(bytes, last.end) {
            Some((kind, length)) if last.end + length == start => Some(kind),
            _ => None,
        });
        if joined.is_none() && !chain.is_empty() {
            each(&chain);
            chain.clear();
        }
        chain.push(Group { start, end: position, joined });
    }
    if !chain.is_empty() {
        each(&chain);
    }
}

/// Finds card numbers: a network's first digits and length, and the check digit.
pub(super) fn cards(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    chains(bytes, |chain| {
        let mut first = 0;
        while first < chain.len() {
            let taken = card_at(bytes, chain, first, found);
            first += taken.max(1);
        }
    });
}

/// Looks for a card that begins with this group; answers how many groups it took.
fn card_at(bytes: &[u8], chain: &[Group], first: usize, found: &mut Vec<Finding>) -> usize {
    let mut digits = [0_u8; 19];
    let mut try_groups = |count: usize, score: u8| {
        let groups = &chain[first..first + count];
        let (start, end) = (groups[0].start, groups[count - 1].end);
        let length: usize = groups.iter().map(|group| group.len()).sum();
        let mut all = groups.iter().flat_map(|group| &bytes[group.start..group.end]);
        for (digit, byte) in digits.iter_mut().zip(&mut all) {
            *digit = byte - b'0';
        }
        let digits = &digits[..length];
        let apart = starts_word(bytes, start)
            && ends_word(bytes, end)
            && !after_point(bytes, start)
            && !before_point(bytes, end);
        let hit = apart && network(digits, count > 1) && luhn(digits);
        if hit {
            found.push(Finding::known(Entity::Card, start, end, score));
        }
        hit
    };
    if (12..=19).contains(&chain[first].len()) {
        return usize::from(try_groups(1, 85));
    }
    // Longer shapes first: a number of 19 digits begins like one of 16.
    let mut best = 0;
    for shape in CARD_SHAPES {
        let Some(groups) = chain.get(first..first + shape.len()) else { continue };
        let fits = groups.iter().zip(*shape).all(|(group, length)| group.len() == *length);
        let alike = groups[1..].iter().all(|group| group.joined == groups[1].joined);
        if fits && alike && shape.len() > best && try_groups(shape.len(), 95) {
            best = shape.len();
        }
    }
    best
}

/// Whether a payment network issues numbers that begin so and have this length. `grouped` numbers look like cards by
/// their shape, so networks with common first digits are admitted for them only.
fn network(digits: &[u8], grouped: bool) -> bool {
    let head = |count: usize| digits[..count].iter().fold(0_u32, |head, digit| head * 10 + u32::from(*digit));
    let length = digits.len();
    let (two, three, four, six) = (head(2), head(3), head(4), head(6));
    match digits[0] {
        // UATP.
        1 => grouped && length == 15,
        // Mastercard and Mir.
        2 => length == 16 && ((222_100..=272_099).contains(&six) || (2200..=2204).contains(&four)),
        // American Express, Diners Club, JCB.
        3 => {
            matches!(two, 34 | 37) && length == 15
                || (matches!(two, 36 | 38 | 39) || (300..=305).contains(&three) || four == 3095)
                    && (matches!(length, 14 | 16) || grouped && (14..=19).contains(&length))
                || (3528..=3589).contains(&four) && (16..=19).contains(&length)
        }
        // Visa.
        4 => matches!(length, 13 | 16 | 19),
        // Mastercard, Maestro, Dankort, RuPay, Elo, Verve.
        5 => {
            (51..=55).contains(&two) && length == 16
                || matches!(four, 5018 | 5019 | 5020 | 5038 | 5612 | 5893)
                    && (matches!(length, 16 | 18 | 19) || grouped && (12..=19).contains(&length))
                || ((508_500..=508_999).contains(&six)
                    || (506_699..=506_778).contains(&six)
                    || (509_000..=509_999).contains(&six)
                    || six == 504_175)
                    && length == 16
                || ((506_099..=506_198).contains(&six) || (507_865..=507_964).contains(&six))
                    && matches!(length, 16 | 18 | 19)
        }
        // Discover, UnionPay, Maestro, RuPay, Hipercard, Elo, InterPayment, InstaPayment.
        6 => {
            (four == 6011 || (644..=649).contains(&three) || matches!(two, 62 | 65)) && (16..=19).contains(&length)
                || matches!(four, 6304 | 6390 | 6759 | 6761 | 6762 | 6763)
                    && (matches!(length, 16 | 18 | 19) || grouped && (12..=19).contains(&length))
                || ((606_985..=607_984).contains(&six) || (608_001..=608_500).contains(&six) || six == 606_282)
                    && length == 16
                || (636..=639).contains(&three) && length == 16
        }
        // UnionPay, RuPay, UzCard.
        8 => ((8100..=8171).contains(&four) || two == 82 && grouped || four == 8600) && length == 16,
        // Troy, Humo.
        9 => matches!(four, 9792 | 9860) && length == 16,
        _ => false,
    }
}

/// The check digit of cards: every second digit from the right doubled, all summed up to a multiple of ten.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(position, &digit)| {
            let value = u32::from(digit) << (position % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    // A row of zeros passes every sum.
    sum.is_multiple_of(10) && sum > 0
}

/// Finds social security numbers: dashed as they are written, otherwise only behind a word that says so.
pub(super) fn ssns(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    chains(bytes, |chain| {
        for first in 0..chain.len() {
            let group = chain[first];
            if group.len() == 9 {
                let parts = [group.start, group.start + 3, group.start + 5, group.end];
                ssn(text, parts, None, found);
            } else if let Some([a, b, c]) = chain.get(first..first + 3)
                && (a.len(), b.len(), c.len()) == (3, 2, 4)
                && b.joined == c.joined
            {
                // A fourth group, joined by a dash as well, makes it another kind of number.
                let longer = |group: Option<&Group>| group.is_some_and(|group| group.joined == Some(Separator::Dash));
                let before = a.joined == Some(Separator::Dash);
                if b.joined == Some(Separator::Dash) && (before || longer(chain.get(first + 3))) {
                    continue;
                }
                ssn(text, [a.start, b.start, c.start, c.end], b.joined, found);
            }
        }
    });
}

fn ssn(text: &str, parts: [usize; 4], joined: Option<Separator>, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let [start, middle, last, end] = parts;
    let area = &bytes[start..start + 3];
    let issued = area != b"000"
        && area != b"666"
        && area[0] != b'9'
        && &bytes[middle..middle + 2] != b"00"
        && &bytes[last..last + 4] != b"0000";
    if !issued || !starts_word(bytes, start) || !ends_word(bytes, end) || after_point(bytes, start) {
        return;
    }
    if hinted(text, start, SSN_HINTS) {
        found.push(Finding::known(Entity::UsSsn, start, end, 85));
    } else if joined == Some(Separator::Dash) {
        found.push(Finding::known(Entity::UsSsn, start, end, 75));
    }
}
