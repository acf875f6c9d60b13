//! Numbers with a check digit or a fixed form: payment cards, bank accounts, vehicles, social security, telephones.

use std::sync::LazyLock;

use regex::Regex;

use super::{Hit, at, before, in_word, stands_alone};

static CHAIN: LazyLock<Regex> = LazyLock::new(|| pattern("[0-9]+(?:[ -][0-9]+)*"));
static IBAN_HEAD: LazyLock<Regex> = LazyLock::new(|| pattern("[A-Za-z]{2}[0-9]{2}"));
static VIN: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?-u:\b)[0-9A-Za-z]{17}(?-u:\b)"));
static SSN: LazyLock<Regex> = LazyLock::new(|| pattern("[0-9]{3}-[0-9]{2}-[0-9]{4}"));
static PLUS: LazyLock<Regex> = LazyLock::new(|| pattern("[+][0-9]"));

/// A pattern of this program: a test compiles every one.
pub(super) fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern of the program compiles")
}

/// Where a card could be, by the digits that networks begin with.
pub(super) const CARD_NEED: &str = concat!(
    r"\b(?:(?:2[2-7][0-9]{14}|3[0-9]{13,15}|4[0-9]{12,18}|[569][0-9]{15,18})\b",
    "|[2-69][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{4}",
    "|3[0-9]{3}[ -][0-9]{6}[ -][0-9]{4})",
);

/// How cards are printed: digits in each group.
const PRINTED: [&[usize]; 4] = [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];

/// Card numbers: in one piece, or in groups with the same separator between them.
pub(super) fn cards(text: &str, hits: &mut Vec<Hit>) {
    for chain in CHAIN.find_iter(text) {
        let mut groups: Vec<(usize, usize)> = Vec::new();
        let mut start = chain.start();
        for (offset, separator) in chain.as_str().match_indices([' ', '-']) {
            groups.push((start, chain.start() + offset));
            start = chain.start() + offset + separator.len();
        }
        groups.push((start, chain.end()));
        for first in 0..groups.len() {
            let (start, end) = groups[first];
            if (13..=19).contains(&(end - start)) {
                card(text, start, end, 85, hits);
                continue;
            }
            for shape in PRINTED {
                let Some(taken) = groups.get(first..first + shape.len()) else { continue };
                let sized = taken.iter().zip(shape).all(|((start, end), size)| end - start == *size);
                let separator = at(text, taken[0].1);
                let alike = taken[..taken.len() - 1].iter().all(|(_, end)| at(text, *end) == separator);
                if sized && alike {
                    card(text, start, taken[taken.len() - 1].1, 95, hits);
                }
            }
        }
    }
}

fn card(text: &str, start: usize, end: usize, score: u8, hits: &mut Vec<Hit>) {
    let digits: Vec<u32> = text[start..end].chars().filter_map(|c| c.to_digit(10)).collect();
    let decimal = before(text, start) == Some(b'.') || at(text, end) == Some(b'.') && digit(at(text, end + 1));
    if stands_alone(text, start, end) && !decimal && issued(&digits) && luhn(&digits) {
        hits.push((start, end, score));
    }
}

fn digit(byte: Option<u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_digit())
}

/// Whether a payment network issues numbers with these first digits and this length (ISO/IEC 7812).
fn issued(digits: &[u32]) -> bool {
    let head = |count: usize| digits.iter().take(count).fold(0, |number, digit| number * 10 + digit);
    match digits.len() {
        13 => head(1) == 4,
        14 => matches!(head(3), 300..=305) || matches!(head(2), 36 | 38 | 39),
        15 => matches!(head(2), 34 | 37),
        16 => {
            head(1) == 4
                || matches!(head(2), 51..=55 | 62 | 65)
                || matches!(head(3), 644..=649)
                || matches!(head(4), 6011 | 2200..=2204 | 3528..=3589 | 9792)
                || matches!(head(6), 222_100..=272_099)
                || maestro(head(4))
        }
        17 => head(2) == 62,
        18 => head(2) == 62 || maestro(head(4)),
        19 => head(1) == 4 || head(2) == 62 || maestro(head(4)),
        _ => false,
    }
}

fn maestro(head: u32) -> bool {
    matches!(head, 5018 | 5020 | 5038 | 6304 | 6759 | 6761 | 6762 | 6763)
}

/// Luhn's sum (ISO/IEC 7812-1): from the right, every second digit twice, with its own digits added.
fn luhn(digits: &[u32]) -> bool {
    const TWICE: [u32; 10] = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9];
    let mut sum = 0;
    for (place, digit) in digits.iter().rev().enumerate() {
        sum += if place % 2 == 1 { TWICE[(*digit % 10) as usize] } else { *digit };
    }
    sum != 0 && sum % 10 == 0
}

/// Lengths of IBANs by country (the registry of ISO 13616): the countries with most accounts.
#[rustfmt::skip]
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24), ("AE", 23), ("AL", 28), ("AT", 20), ("AZ", 28), ("BA", 20), ("BE", 16), ("BG", 22), ("BH", 22),
    ("BR", 29), ("BY", 28), ("CH", 21), ("CR", 22), ("CY", 28), ("CZ", 24), ("DE", 22), ("DK", 18), ("DO", 28),
    ("EE", 20), ("EG", 29), ("ES", 24), ("FI", 18), ("FO", 18), ("FR", 27), ("GB", 22), ("GE", 22), ("GI", 23),
    ("GL", 18), ("GR", 27), ("GT", 28), ("HR", 21), ("HU", 28), ("IE", 22), ("IL", 23), ("IQ", 23), ("IS", 26),
    ("IT", 27), ("JO", 30), ("KW", 30), ("KZ", 20), ("LB", 28), ("LI", 21), ("LT", 20), ("LU", 20), ("LV", 21),
    ("MC", 27), ("MD", 24), ("ME", 22), ("MK", 19), ("MT", 31), ("MU", 30), ("NL", 18), ("NO", 15), ("PK", 24),
    ("PL", 28), ("PS", 29), ("PT", 25), ("QA", 29), ("RO", 24), ("RS", 22), ("SA", 24), ("SE", 24), ("SI", 19),
    ("SK", 24), ("SM", 27), ("TN", 24), ("TR", 26), ("UA", 29), ("VA", 22), ("VG", 24), ("XK", 20),
];

/// Bank account numbers, in one piece or with spaces or dashes in between.
pub(super) fn ibans(text: &str, hits: &mut Vec<Hit>) {
    for head in IBAN_HEAD.find_iter(text) {
        let country = head.as_str()[..2].to_ascii_uppercase();
        let Some((_, length)) = IBAN_LENGTHS.iter().find(|(code, _)| *code == country) else { continue };
        let mut number: Vec<u8> = Vec::with_capacity(34);
        let mut position = head.end();
        while number.len() < length - 4 {
            if matches!(at(text, position), Some(b' ' | b'-')) {
                position += 1;
            }
            match at(text, position) {
                Some(byte) if byte.is_ascii_alphanumeric() => number.push(byte.to_ascii_uppercase()),
                _ => break,
            }
            position += 1;
        }
        // The country and the check digits count last; letters count from 10.
        let remainder =
            number.iter().copied().chain(head.as_str().to_ascii_uppercase().bytes()).fold(0, |sum, byte| match byte {
                b'0'..=b'9' => (sum * 10 + u32::from(byte - b'0')) % 97,
                _ => (sum * 100 + u32::from(byte - b'A') + 10) % 97,
            });
        if number.len() == length - 4 && remainder == 1 && stands_alone(text, head.start(), position) {
            hits.push((head.start(), position, 95));
        }
    }
}

/// Vehicle identification numbers (ISO 3779) with their check digit and a serial number at the end.
pub(super) fn vins(text: &str, hits: &mut Vec<Hit>) {
    const VALUES: &[(&str, u32)] =
        &[("AJ", 1), ("BKS", 2), ("CLT", 3), ("DMU", 4), ("ENV", 5), ("FW", 6), ("GPX", 7), ("HY", 8), ("RZ", 9)];
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    for found in VIN.find_iter(text) {
        let vin = found.as_str().to_ascii_uppercase();
        let serial = vin[13..].bytes().all(|byte| byte.is_ascii_digit());
        let letters = vin.bytes().any(|byte| byte.is_ascii_alphabetic());
        let sum = vin.chars().zip(WEIGHTS).try_fold(0, |sum, (c, weight)| {
            let value = c.to_digit(10).or_else(|| VALUES.iter().find(|(set, _)| set.contains(c)).map(|(_, v)| *v))?;
            Some(sum + value * weight)
        });
        let expected = sum.and_then(|sum| if sum % 11 == 10 { Some('X') } else { char::from_digit(sum % 11, 10) });
        if serial && letters && expected.is_some() && vin.chars().nth(8) == expected {
            hits.push((found.start(), found.end(), 85));
        }
    }
}

/// Social security numbers of the United States, with dashes, among those that were ever issued.
pub(super) fn ssns(text: &str, hits: &mut Vec<Hit>) {
    for found in SSN.find_iter(text) {
        let number = found.as_str();
        let (area, group, serial) = (&number[..3], &number[4..6], &number[7..]);
        let issued = !matches!(area, "000" | "666") && !area.starts_with('9') && group != "00" && serial != "0000";
        // What goes on with a dash, a point or a character beyond ASCII is some other number.
        let ends = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii() && !in_word(byte) && byte != b'-');
        let left = before(text, found.start());
        if issued && ends(left) && left != Some(b'.') && ends(at(text, found.end())) {
            hits.push((found.start(), found.end(), 75));
        }
    }
}

/// Country codes (ITU-T E.164), with how many digits follow.
#[rustfmt::skip]
const COUNTRY_CODES: &[(&str, usize, usize)] = &[
    ("1", 10, 10), ("7", 10, 10), ("20", 9, 10), ("27", 9, 9), ("30", 10, 10), ("31", 9, 9), ("32", 8, 9),
    ("33", 9, 9), ("34", 9, 9), ("36", 8, 9), ("39", 8, 11), ("40", 9, 9), ("41", 9, 9), ("43", 7, 13),
    ("44", 9, 10), ("45", 8, 8), ("46", 7, 10), ("47", 8, 8), ("48", 9, 9), ("49", 7, 13), ("51", 8, 9),
    ("52", 10, 11), ("54", 10, 11), ("55", 10, 11), ("56", 9, 9), ("57", 8, 10), ("60", 8, 10), ("61", 9, 9),
    ("62", 8, 12), ("63", 8, 10), ("64", 8, 10), ("65", 8, 8), ("66", 8, 9), ("81", 9, 10), ("82", 8, 10),
    ("84", 9, 10), ("86", 9, 11), ("90", 10, 10), ("91", 10, 10), ("92", 9, 10), ("94", 9, 9), ("98", 10, 10),
    ("212", 9, 9), ("213", 8, 9), ("216", 8, 8), ("234", 8, 10), ("254", 9, 10), ("351", 9, 9), ("352", 8, 11),
    ("353", 7, 9), ("354", 7, 9), ("356", 8, 8), ("357", 8, 8), ("358", 7, 11), ("359", 8, 9), ("370", 8, 8),
    ("371", 8, 8), ("372", 7, 8), ("380", 9, 9), ("381", 8, 9), ("385", 8, 9), ("386", 8, 8), ("420", 9, 9),
    ("421", 9, 9), ("852", 8, 8), ("886", 8, 9), ("961", 7, 8), ("962", 8, 9), ("965", 8, 8), ("966", 8, 9),
    ("971", 8, 9), ("972", 8, 9), ("974", 8, 8),
];

/// International telephone numbers: `+`, a country's code, and as many digits as that country's numbers have, in
/// groups with single spaces or dashes between them.
pub(super) fn phones(text: &str, hits: &mut Vec<Hit>) {
    for plus in PLUS.find_iter(text) {
        let inside = |byte: u8| in_word(byte) || matches!(byte, b'+' | b'.');
        if before(text, plus.start()).is_some_and(inside) {
            continue;
        }
        let mut digits = String::new();
        let mut position = plus.start() + 1;
        let mut found = None;
        for group in 0..8 {
            let length = text.as_bytes()[position..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if length == 0 || digits.len() + length > 15 {
                break;
            }
            digits.push_str(&text[position..position + length]);
            position += length;
            // A single group with a point behind it may be a decimal number.
            let next = at(text, position);
            let decimal = group == 0 && matches!(next, Some(b'.' | b'(' | b')'));
            if !next.is_some_and(in_word) && !decimal && subscriber(&digits) {
                found = Some(position);
            }
            match next {
                Some(b' ' | b'-') => position += 1,
                _ => break,
            }
        }
        if let Some(end) = found {
            hits.push((plus.start(), end, 85));
        }
    }
}

/// Whether these digits, country code first, are a number of that country.
fn subscriber(digits: &str) -> bool {
    COUNTRY_CODES.iter().any(|(code, least, most)| {
        digits.strip_prefix(code).is_some_and(|rest| {
            let place = |index: usize| rest.as_bytes().get(index).copied().unwrap_or(b'0');
            let begins = match *code {
                "1" => place(0) >= b'2' && place(3) >= b'2',
                "7" => place(0) >= b'3',
                "39" => true,
                _ => place(0) != b'0',
            };
            begins && (*least..=*most).contains(&rest.len())
        })
    })
}
