//! Addresses: of people, of machines and of their interfaces.

use std::net::Ipv6Addr;
use std::sync::LazyLock;

use regex::Regex;

use super::number::pattern;
use super::{Hit, at, stands_alone};

static SIGN: LazyLock<Regex> = LazyLock::new(|| pattern("@|%40"));
static DOTTED: LazyLock<Regex> = LazyLock::new(|| pattern("[0-9.]{7,}"));
static COLONS: LazyLock<Regex> = LazyLock::new(|| pattern("[0-9A-Fa-f:.]{3,}"));
static PAIRS: LazyLock<Regex> = LazyLock::new(|| pattern("[0-9A-Fa-f:.-]{14,}"));

/// The longest name and the longest domain that are looked at, in bytes.
const LONGEST_NAME: usize = 128;
const LONGEST_DOMAIN: usize = 250;

/// Endings of files, which make `camera@2x.png` look like an address.
const FILE_ENDINGS: &[&str] = &[
    "png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "css", "js", "json", "xml", "html", "htm", "csv", "txt",
    "pdf", "mp4", "parquet", "log", "yaml", "toml", "tmp", "bak",
];

/// E-mail addresses, also with letters beyond ASCII, and with `%40` as URLs have it.
pub(super) fn emails(text: &str, hits: &mut Vec<Hit>) {
    for sign in SIGN.find_iter(text) {
        let mut start = sign.start();
        for (position, c) in text[..sign.start()].char_indices().rev() {
            if !(c.is_alphanumeric() || "._%+-".contains(c)) || sign.start() - position > LONGEST_NAME {
                break;
            }
            start = position;
        }
        let name = &text[start..sign.start()];
        if !name.chars().next_back().is_some_and(char::is_alphanumeric) {
            continue;
        }
        if let Some(length) = domain(&text[sign.end()..]) {
            hits.push((start, sign.end() + length, 90));
        }
    }
}

/// The length of the domain at the beginning of a text. Labels that cannot be its end, such as the number after a
/// full stop, are left off.
fn domain(text: &str) -> Option<usize> {
    let mut length = text.find(|c: char| !(c.is_alphanumeric() || c == '-' || c == '.')).unwrap_or(text.len());
    if length > LONGEST_DOMAIN {
        return None;
    }
    length = text[..length].trim_end_matches(['.', '-']).len();
    while let Some(point) = text[..length].rfind('.') {
        let top = &text[point + 1..length];
        let named = top.starts_with("xn--") || top.chars().count() >= 2 && top.chars().all(char::is_alphabetic);
        let label = |label: &str| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
        if named && text[..length].split('.').all(label) {
            let file = FILE_ENDINGS.iter().any(|ending| top.eq_ignore_ascii_case(ending));
            return (!file).then_some(length);
        }
        length = text[..point].trim_end_matches('-').len();
    }
    None
}

/// Words that make four numbers a version.
const VERSIONS: &[&str] = &["version", "ver", "v", "release", "firmware", "fw", "build", "rev", "section", "oid"];
/// How far before the numbers such a word may stand, in bytes.
const VERSION_REACH: usize = 48;

/// Internet addresses, version 4: exactly four numbers up to 255, without zeros in front.
pub(super) fn ipv4s(text: &str, hits: &mut Vec<Hit>) {
    for run in DOTTED.find_iter(text) {
        let address = run.as_str().trim_end_matches('.');
        let end = run.start() + address.len();
        let octet = |part: &str| {
            matches!(part.len(), 1..=3) && (part == "0" || !part.starts_with('0')) && part.parse::<u8>().is_ok()
        };
        if address.split('.').count() == 4
            && address.split('.').all(octet)
            && stands_alone(text, run.start(), end)
            && !version_before(text, run.start())
        {
            hits.push((run.start(), end, 80));
        }
    }
}

fn version_before(text: &str, start: usize) -> bool {
    let mut from = start.saturating_sub(VERSION_REACH);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let window = text[from..start].to_lowercase();
    window.split(|c: char| !c.is_alphanumeric()).any(|word| VERSIONS.contains(&word))
}

/// Internet addresses, version 6.
pub(super) fn ipv6s(text: &str, hits: &mut Vec<Hit>) {
    for run in COLONS.find_iter(text) {
        let address = run.as_str().trim_end_matches('.');
        // One colon behind belongs to the sentence, two belong to the address.
        let address = if address.ends_with("::") { address } else { address.trim_end_matches(':') };
        let end = run.start() + address.len();
        let colons = address.bytes().filter(|&byte| byte == b':').count();
        let digits = address.bytes().any(|byte| byte.is_ascii_digit());
        if colons >= 2
            && (digits || colons > 2)
            && (3..=45).contains(&address.len())
            && stands_alone(text, run.start(), end)
            && address.parse::<Ipv6Addr>().is_ok()
        {
            hits.push((run.start(), end, 85));
        }
    }
}

/// Hardware addresses: six pairs with colons or dashes, or three groups of four with points.
pub(super) fn macs(text: &str, hits: &mut Vec<Hit>) {
    for run in PAIRS.find_iter(text) {
        let address = run.as_str().trim_end_matches(['.', ':', '-']);
        let end = run.start() + address.len();
        let letters = address.bytes().any(|byte| byte.is_ascii_alphabetic());
        let grouped = |separator: char, groups: usize, size: usize| {
            address.split(separator).count() == groups
                && address
                    .split(separator)
                    .all(|part| part.len() == size && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        let score = if grouped(':', 6, 2) {
            if letters { 95 } else { 70 }
        } else if letters && grouped('-', 6, 2) {
            95
        } else if letters && grouped('.', 3, 4) {
            90
        } else {
            continue;
        };
        if stands_alone(text, run.start(), end) && at(text, run.start()).is_some_and(|byte| byte.is_ascii_hexdigit()) {
            hits.push((run.start(), end, score));
        }
    }
}
