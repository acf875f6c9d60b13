//! Vehicle identification numbers: 17 characters without I, O and Q, and a check digit.

use super::entity::{Entity, Finding};
use super::text::{end_of_word, hinted, next_word};

const HINTS: &[&str] = &[
    "vin",
    "fin",
    "chassis",
    "fahrgestell",
    "fahrgestellnummer",
    "fahrgestellnr",
    "fahrzeug-ident",
    "vehicle id",
    "vehicle identification",
    "vehicle identification number",
    "bastidor",
    "telaio",
];

/// Finds vehicle identification numbers. Not every region uses the check digit: without it only behind a hint.
pub(super) fn vins(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let mut start = next_word(bytes, 0);
    while start < bytes.len() {
        let end = end_of_word(bytes, start);
        if end - start == 17 {
            found.extend(score(text, start).map(|score| Finding::known(Entity::Vin, start, end, score)));
        }
        start = next_word(bytes, end);
    }
}

fn score(text: &str, start: usize) -> Option<u8> {
    let vin = &text.as_bytes()[start..start + 17];
    let mut sum = 0;
    let mut digits = 0;
    for (&byte, weight) in vin.iter().zip([8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2]) {
        sum += value(byte)? * weight;
        digits += usize::from(byte.is_ascii_digit());
    }
    let expected = if sum % 11 == 10 { b'X' } else { b'0' + (sum % 11) as u8 };
    let checked = vin[8].to_ascii_uppercase() == expected;
    let serial = vin[13..].iter().all(u8::is_ascii_digit);
    // Digits alone are some other number, letters alone a word.
    let mixed = (1..17).contains(&digits);
    match (hinted(text, start, HINTS), checked && mixed) {
        (true, true) => Some(95),
        (true, false) => Some(75),
        (false, true) => Some(if serial { 85 } else { 60 }),
        (false, false) => None,
    }
}

/// What a character counts for in the check digit.
fn value(byte: u8) -> Option<u32> {
    Some(match byte.to_ascii_uppercase() {
        digit @ b'0'..=b'9' => u32::from(digit - b'0'),
        b'A' | b'J' => 1,
        b'B' | b'K' | b'S' => 2,
        b'C' | b'L' | b'T' => 3,
        b'D' | b'M' | b'U' => 4,
        b'E' | b'N' | b'V' => 5,
        b'F' | b'W' => 6,
        b'G' | b'P' | b'X' => 7,
        b'H' | b'Y' => 8,
        b'R' | b'Z' => 9,
        _ => return None,
    })
}
