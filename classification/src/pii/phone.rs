//! Telephone numbers: international ones by country code and length, national ones behind a word that says so.

use super::countries::COUNTRY_CODES;
use super::entity::{Entity, Finding};
use super::text::{LastLetters, hinted, is_word, separator};

/// Words after which even a plain number is a telephone's.
const STRONG: &[&str] = &[
    "tel",
    "telephone",
    "téléphone",
    "telefon",
    "telefono",
    "teléfono",
    "telefone",
    "telefoon",
    "telefonnummer",
    "phone",
    "phone number",
    "fax",
    "telefax",
    "whatsapp",
    "handy",
    "handynummer",
    "mobilnummer",
    "sms",
    "hotline",
    "tlf",
    "tfn",
    "puhelin",
    "τηλ",
    "тел",
    "телефон",
    "电话",
    "手机",
    "電話",
    "電話番号",
    "携帯",
    "전화",
    "هاتف",
    "טלפון",
    "फ़ोन",
    "msisdn",
    "rückruf",
];

/// Words after which a number must look like a telephone's by its first digit or its groups.
const WEAK: &[&str] = &[
    "mobile", "mobil", "movil", "móvil", "celular", "cell", "gsm", "call", "dial", "contact", "kontakt", "contacto",
    "ph",
];

const LAST_LETTERS: LastLetters = LastLetters::of(&[STRONG, WEAK]);

/// Digits as they stand in a text, with the groups that separators make of them.
struct Number {
    digits: [u8; 18],
    count: usize,
    /// For each group: how many digits there are up to its end, and where it ends.
    groups: [(usize, usize); 10],
    group_count: usize,
    /// Whether the only separator is one point: the form of a decimal number.
    decimal: bool,
}

/// Reads digits from `start`: groups with at most two separators between them, brackets and an inserted `(0)` included.
fn read(bytes: &[u8], start: usize, skip_trunk: bool) -> Option<Number> {
    let mut number = Number { digits: [0; 18], count: 0, groups: [(0, 0); 10], group_count: 0, decimal: false };
    let mut position = start;
    // A bracket may have been opened before `start`.
    let (mut separators, mut points, mut open) = (0, 0, 1);
    'groups: while number.group_count < number.groups.len() {
        let (group, counted) = (position, number.count);
        while let Some(byte) = bytes.get(position).filter(|byte| byte.is_ascii_digit()) {
            if number.count == number.digits.len() {
                // Longer than any telephone number: this group belongs to something else.
                number.count = counted;
                break 'groups;
            }
            number.digits[number.count] = byte - b'0';
            number.count += 1;
            position += 1;
        }
        if position > group {
            number.groups[number.group_count] = (number.count, position);
            number.group_count += 1;
        }
        for _ in 0..3 {
            if skip_trunk && number.count > 0 && bytes[position..].starts_with(b"(0)") {
                position += 3;
                continue;
            }
            match bytes.get(position) {
                Some(b'.') => points += 1,
                Some(b'/') => separators += 1,
                Some(b'(') => open += 1,
                Some(b')') if open > 0 => open -= 1,
                _ => match separator(bytes, position) {
                    Some((_, length)) => {
                        separators += 1;
                        position += length;
                        continue;
                    }
                    None => break,
                },
            }
            position += 1;
        }
        if !bytes.get(position).is_some_and(u8::is_ascii_digit) {
            break;
        }
    }
    number.decimal = points == 1 && separators == 0 && number.group_count == 2;
    (number.group_count > 0).then_some(number)
}

impl Number {
    /// Whether the groups are those of a calendar date, in either order, with or without a time behind it.
    fn is_date(&self) -> bool {
        let groups = &self.groups[..self.group_count];
        let Some(&[(first, _), (second, _), (third, _)]) = groups.get(..3) else { return false };
        let number = |from: usize, to: usize| self.digits[from..to].iter().fold(0_u32, |n, &d| n * 10 + u32::from(d));
        let year = |from: usize, to: usize| to - from == 4 && (1900..2100).contains(&number(from, to));
        let small = |from: usize, to: usize| to - from == 2 && (1..=31).contains(&number(from, to));
        year(0, first) && small(first, second) && small(second, third)
            || small(0, first) && small(first, second) && year(second, third)
    }

    /// Where the number ends if it is as long as `fits` wants: with all groups, or without some of the last, which
    /// may be the next word of a list.
    fn end(&self, bytes: &[u8], fits: impl Fn(&[u8]) -> bool) -> Option<usize> {
        self.groups[..self.group_count].iter().rev().find_map(|&(count, end)| {
            let apart = bytes.get(end).is_none_or(|&byte| !is_word(byte));
            (apart && fits(&self.digits[..count])).then_some(end)
        })
    }
}

/// Whether these digits, country code first, are as long as that country's numbers.
fn international(digits: &[u8]) -> bool {
    let head = |count: usize| digits.iter().take(count).fold(0_u16, |head, &digit| head * 10 + u16::from(digit));
    (1..=3).any(|count| {
        let Ok(position) = COUNTRY_CODES.binary_search_by_key(&head(count), |country| country.0) else { return false };
        let (_, least, most) = COUNTRY_CODES[position];
        let Some(rest) = digits.get(count..) else { return false };
        let issued = match head(count) {
            // Area and exchange begin with 2 to 9.
            1 => rest.first().is_some_and(|digit| *digit >= 2) && rest.get(3).is_some_and(|digit| *digit >= 2),
            7 => rest.first().is_some_and(|digit| *digit >= 3),
            _ => rest.first().is_some_and(|digit| *digit != 0 || head(count) == 39),
        };
        issued && (usize::from(least)..=usize::from(most)).contains(&rest.len())
    })
}

/// Finds telephone numbers.
pub(super) fn phones(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let (mut position, mut behind) = (0, 0);
    while position < bytes.len() {
        let byte = bytes[position];
        if !BEGINS[usize::from(byte)] {
            position += 1;
            continue;
        }
        // The end of one number is no word that the next could be a part of.
        let inside = position > behind && (is_word(bytes[position - 1]) || matches!(bytes[position - 1], b'+' | b'.'));
        let hit = match byte {
            _ if inside => None,
            b'+' => plus(text, position),
            b'0' if bytes[position..].starts_with(b"00") => zeros(text, position).or_else(|| national(text, position)),
            _ => national(text, position),
        };
        if let Some(finding) = hit {
            position = finding.end;
            behind = finding.end;
            found.push(finding);
            continue;
        }
        // The rest of a run of digits is not another number.
        position += 1;
        if byte.is_ascii_digit() {
            while bytes.get(position).is_some_and(u8::is_ascii_digit) {
                position += 1;
            }
        }
    }
}

/// What a number begins with: a digit, `+`, `(`.
const BEGINS: [bool; 256] = {
    let mut table = [false; 256];
    let mut index = 0;
    while index < 256 {
        table[index] = matches!(index as u8, b'0'..=b'9' | b'+' | b'(');
        index += 1;
    }
    table
};

/// `+` and a country code.
fn plus(text: &str, start: usize) -> Option<Finding> {
    let bytes = text.as_bytes();
    let mut digits = start + 1;
    // `+ 49`, `+(49)`.
    if bytes.get(digits).is_some_and(|byte| matches!(byte, b' ' | b'(')) {
        digits += 1;
    }
    if !bytes.get(digits).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let number = read(bytes, digits, true)?;
    let end = number.end(bytes, international)?;
    // `+49.12345678` is a latitude as well.
    let score = if number.decimal {
        35
    } else if number.group_count > 1 {
        90
    } else {
        85
    };
    Some(Finding::known(Entity::Phone, start, end, score))
}

/// `00` and a country code: with separators or a hint only, or every number with zeros in front would be one.
fn zeros(text: &str, start: usize) -> Option<Finding> {
    let bytes = text.as_bytes();
    let number = read(bytes, start, true)?;
    let end = number.end(bytes, |digits| digits.starts_with(&[0, 0]) && international(&digits[2..]))?;
    let hint = hinted(text, start, STRONG) || hinted(text, start, WEAK);
    if hint {
        return Some(Finding::known(Entity::Phone, start, end, 85));
    }
    let spaced = number.group_count > 1 && number.groups[0].0 <= 5 && !number.decimal;
    spaced.then(|| Finding::known(Entity::Phone, start, end, 60))
}

/// A number without a country code: with brackets as North America writes it, or behind a hint.
fn national(text: &str, start: usize) -> Option<Finding> {
    let bytes = text.as_bytes();
    let bracket = bytes[start] == b'(';
    if !bracket && !LAST_LETTERS.before(bytes, start) {
        return None;
    }
    let number = read(bytes, start, false)?;
    if number.decimal || number.is_date() {
        return None;
    }
    let american = |digits: &[u8]| digits.len() == 10 && digits[0] >= 2 && digits[3] >= 2;
    if bracket
        && number.groups[0].0 == 3
        && bytes.get(number.groups[0].1) == Some(&b')')
        && let Some(end) = number.end(bytes, american)
    {
        return Some(Finding::known(Entity::Phone, start, end, 65));
    }
    if number.count < 6 {
        return None;
    }
    let strong = hinted(text, start, STRONG);
    let formed = bracket || number.digits[0] == 0 || number.group_count > 1;
    let weak = || formed && number.count >= 7 && hinted(text, start, WEAK);
    if !strong && !weak() {
        return None;
    }
    let end = number.end(bytes, |digits| (6..=13).contains(&digits.len()))?;
    Some(Finding::known(Entity::Phone, start, end, if strong { 75 } else { 65 }))
}
