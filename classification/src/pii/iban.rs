//! International bank account numbers: a country, its length, and the remainder modulo 97.

use super::countries::IBAN_LENGTHS;
use super::entity::{Entity, Finding};
use super::text::{end_of_word, ends_word, next_word, separator};

/// The length of a country's IBANs.
fn length(country: [u8; 2]) -> Option<usize> {
    IBAN_LENGTHS.binary_search_by(|(code, _)| (*code).cmp(&country)).ok().map(|position| IBAN_LENGTHS[position].1)
}

/// Finds IBANs, in one piece or with single separators, in either case.
pub(super) fn ibans(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    // They begin words, and where one ends a word does.
    let mut position = next_word(bytes, 0);
    while position + 15 <= bytes.len() {
        let end = match iban_at(bytes, position) {
            Some(end) => {
                found.push(Finding::known(Entity::Iban, position, end, 95));
                end
            }
            None => end_of_word(bytes, position),
        };
        position = next_word(bytes, end);
    }
}

/// The end of one that begins with the word at `start`.
fn iban_at(bytes: &[u8], start: usize) -> Option<usize> {
    let head = bytes.get(start..start + 4)?;
    let letters = head[0].is_ascii_alphabetic() && head[1].is_ascii_alphabetic();
    if !letters || !head[2].is_ascii_digit() || !head[3].is_ascii_digit() {
        return None;
    }
    let length = length([head[0].to_ascii_uppercase(), head[1].to_ascii_uppercase()])?;
    let mut remainder = Remainder(0);
    let mut position = start + 4;
    for taken in 4..length {
        if let Some((_, gap)) = separator(bytes, position).filter(|_| taken > 3) {
            position += gap;
        }
        let byte = *bytes.get(position)?;
        if !byte.is_ascii_alphanumeric() {
            return None;
        }
        remainder.push(byte);
        position += 1;
    }
    if !ends_word(bytes, position) {
        return None;
    }
    // The country and the check digits count last.
    head.iter().for_each(|&byte| remainder.push(byte));
    (remainder.0 == 1).then_some(position)
}

/// A remainder modulo 97 of a number whose letters count as 10 to 35.
struct Remainder(u32);

impl Remainder {
    fn push(&mut self, byte: u8) {
        self.0 = match byte {
            b'0'..=b'9' => self.0 * 10 + u32::from(byte - b'0'),
            _ => self.0 * 100 + u32::from(byte.to_ascii_uppercase() - b'A') + 10,
        } % 97;
    }
}
