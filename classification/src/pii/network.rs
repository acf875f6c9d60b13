//! Internet addresses and hardware addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::entity::{Entity, Finding};
use super::text::{ends_word, hinted, is_word, starts_word};

/// Words before four numbers that are no address.
const VERSION_HINTS: &[&str] = &["version", "ver", "v", "release", "firmware", "fw", "build", "rev", "section", "oid"];

const MAC_HINTS: &[&str] = &["mac", "bssid", "bluetooth", "bt", "wifi", "hwaddr", "hw"];

/// The longest text of an IPv6 address, with an IPv4 address at its end.
const LONGEST_V6: usize = 45;

/// The shortest text of a hardware address, without separators.
const SHORTEST_MAC: usize = 12;

/// Runs of bytes of one kind, as start and end.
fn runs(bytes: &[u8], kind: impl Fn(u8) -> bool) -> impl Iterator<Item = (usize, usize)> {
    let mut position = 0;
    std::iter::from_fn(move || {
        position += bytes[position..].iter().position(|&byte| kind(byte))?;
        let start = position;
        while bytes.get(position).is_some_and(|&byte| kind(byte)) {
            position += 1;
        }
        Some((start, position))
    })
}

/// Finds IPv4 addresses: four numbers up to 255.
pub(super) fn ipv4s(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    for (start, end) in runs(bytes, |byte| byte.is_ascii_digit() || byte == b'.') {
        let run = text[start..end].trim_start_matches('.');
        let start = end - run.len();
        let run = run.trim_end_matches('.');
        let end = start + run.len();
        let apart = starts_word(bytes, start) && ends_word(bytes, end);
        if apart && run.len() >= 7 && octets(run) {
            let score = if hinted(text, start, VERSION_HINTS) { 40 } else { 80 };
            found.push(Finding::known(Entity::Ipv4, start, end, score));
        }
    }
}

/// Whether this is an address; leading zeros, which the standard library refuses, are how some devices print them.
fn octets(run: &str) -> bool {
    if run.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let mut parts = 0;
    let every = run.split('.').all(|part| {
        parts += 1;
        (1..=3).contains(&part.len()) && part.parse::<u8>().is_ok()
    });
    every && parts == 4
}

/// Finds IPv6 addresses in all their forms, with a zone or an IPv4 address at the end.
pub(super) fn ipv6s(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    for (start, end) in runs(bytes, |byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.') {
        for run in heads(text, start, end) {
            let run = run.trim_end_matches('.');
            // A single colon before or behind belongs to the sentence, two belong to the address.
            let run = if run.ends_with("::") { run } else { run.trim_end_matches(':') };
            let run = run.strip_prefix(':').filter(|rest| !rest.starts_with(':')).unwrap_or(run);
            let start = offset_in(text, run);
            let mut end = start + run.len();
            if !is_v6(run) || !ends_word(bytes, end) {
                continue;
            }
            if bytes.get(end) == Some(&b'%') {
                let zone = bytes[end + 1..].iter().take_while(|&&byte| is_word(byte) || byte == b'-').count();
                end += if zone > 0 { zone + 1 } else { 0 };
            }
            found.push(Finding::known(Entity::Ipv6, start, end, 85));
            break;
        }
    }
}

/// A run as it stands, unless it begins inside a word, and what follows its first separator: in `device:` and
/// `mac=face:` the last letters are hexadecimal digits too.
fn heads(text: &str, start: usize, end: usize) -> impl Iterator<Item = &str> {
    let run = &text[start..end];
    let fresh = starts_word(text.as_bytes(), start);
    let whole = Some(run).filter(|run| fresh || run.starts_with(':') && !run.starts_with("::"));
    let rest = run
        .split_once([':', '-'])
        .filter(|(head, _)| !head.is_empty() && (!fresh || !head.bytes().any(|byte| byte.is_ascii_digit())));
    let rest = rest.map(|(_, rest)| rest);
    [whole, rest].into_iter().flatten()
}

/// Where a part of a text begins in it.
fn offset_in(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

fn is_v6(run: &str) -> bool {
    if run.len() > LONGEST_V6 || run.len() < 3 || run.parse::<Ipv6Addr>().is_err() {
        return false;
    }
    // `dead::beef` is an address; so is `add::bad`, and either is a path in a programme as well.
    run.bytes().any(|byte| byte.is_ascii_digit()) || run.bytes().filter(|&byte| byte == b':').count() > 2
}

/// Finds hardware addresses: six or eight pairs, three groups of four, or twelve digits behind a hint.
pub(super) fn macs(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let part = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'-' | b'.');
    // In every word of a language there are letters that are digits too.
    for (start, end) in runs(bytes, part).filter(|(start, end)| end - start >= SHORTEST_MAC) {
        for run in heads(text, start, end) {
            let run = run.trim_matches(['.', ':', '-']);
            let start = offset_in(text, run);
            let end = start + run.len();
            if !starts_word(bytes, start) || !ends_word(bytes, end) {
                continue;
            }
            if let Some(score) = mac_score(text, start, run) {
                found.push(Finding::known(Entity::Mac, start, end, score));
                break;
            }
        }
    }
}

fn mac_score(text: &str, start: usize, run: &str) -> Option<u8> {
    let bytes = run.as_bytes();
    let grouped = |size: usize, separator: u8| {
        bytes.len() % (size + 1) == size
            && bytes.chunks(size + 1).all(|chunk| {
                chunk[..size].iter().all(u8::is_ascii_hexdigit) && chunk.get(size).is_none_or(|&byte| byte == separator)
            })
    };
    let letters = bytes.iter().any(u8::is_ascii_alphabetic);
    match bytes.len() {
        17 | 23 if grouped(2, b':') => Some(if letters { 95 } else { 70 }),
        // Pairs of digits with dashes are also how dates with times are written.
        17 | 23 if grouped(2, b'-') => Some(if letters { 95 } else { 45 }),
        14 if grouped(4, b'.') => Some(if letters { 90 } else { 45 }),
        12 if bytes.iter().all(u8::is_ascii_hexdigit) && hinted(text, start, MAC_HINTS) => Some(75),
        _ => None,
    }
}
