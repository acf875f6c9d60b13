//! Making places coarser: networks of internet addresses, coordinates in well-known text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network of an address that is written as text, such as `192.0.2.0/24`. An address that is a network already
/// stays one, at most as fine as asked. `None` for everything that is no address.
pub fn network_prefix(address: &str, v4: u8, v6: u8) -> Option<String> {
    let (host, own) = match address.split_once('/') {
        Some((host, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(bits.parse::<u8>().ok()?)),
        Some(_) => return None,
        None => (address, None),
    };
    match host.parse().ok()? {
        IpAddr::V4(host) => {
            let own = own.unwrap_or(32);
            let bits = v4.min(own);
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            (own <= 32).then(|| format!("{}/{bits}", Ipv4Addr::from_bits(host.to_bits() & mask)))
        }
        IpAddr::V6(host) => {
            let own = own.unwrap_or(128);
            let bits = v6.min(own);
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            (own <= 128).then(|| format!("{}/{bits}", Ipv6Addr::from_bits(host.to_bits() & mask)))
        }
    }
}

/// Well-known text with its coordinates rounded to so many decimals, ties away from zero and by their digits, so that
/// no value passes through a float. `None` for text that is anything else, which might carry more than coordinates.
pub fn round_wkt(text: &str, decimals: u8) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut position = 0;
    let mut depth = 0_usize;
    let mut named = false;
    while let Some(&byte) = bytes.get(position) {
        let start = position;
        match byte {
            b'0'..=b'9' | b'-' | b'+' | b'.' => {
                while bytes
                    .get(position)
                    .is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E'))
                {
                    position += 1;
                }
                out.push_str(&round_digits(&text[start..position], usize::from(decimals))?);
                continue;
            }
            b'a'..=b'z' | b'A'..=b'Z' => {
                while bytes.get(position).is_some_and(u8::is_ascii_alphabetic) {
                    position += 1;
                }
                let word = &text[start..position];
                if !WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)) {
                    return None;
                }
                named |= !word.eq_ignore_ascii_case("SRID");
                out.push_str(word);
                continue;
            }
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1)?,
            b' ' | b',' | b';' | b'=' => {}
            _ => return None,
        }
        out.push(char::from(byte));
        position += 1;
    }
    (named && depth == 0).then_some(out)
}

/// The words of well-known text.
const WORDS: &[&str] = &[
    "SRID",
    "POINT",
    "LINESTRING",
    "POLYGON",
    "MULTIPOINT",
    "MULTILINESTRING",
    "MULTIPOLYGON",
    "GEOMETRYCOLLECTION",
    "CIRCULARSTRING",
    "COMPOUNDCURVE",
    "CURVEPOLYGON",
    "MULTICURVE",
    "MULTISURFACE",
    "TIN",
    "POLYHEDRALSURFACE",
    "TRIANGLE",
    "Z",
    "M",
    "ZM",
    "EMPTY",
];

/// Rounds a decimal number by its digits.
fn round_digits(number: &str, decimals: usize) -> Option<String> {
    if number.contains(['e', 'E']) {
        let value: f64 = number.parse().ok()?;
        return value.is_finite().then(|| plain(format!("{value:.decimals$}")));
    }
    // What is no number for the library either is no number: `1.2.3`, `--1`.
    number.parse::<f64>().ok()?;
    let (negative, digits) = match number.as_bytes()[0] {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.len() <= decimals {
        return Some(number.to_owned());
    }
    let up = fraction.as_bytes()[decimals] >= b'5';
    let mut kept: Vec<u8> = whole.bytes().chain(fraction.bytes().take(decimals)).collect();
    if up {
        let mut position = kept.len();
        loop {
            if position == 0 {
                kept.insert(0, b'1');
                break;
            }
            position -= 1;
            if kept[position] == b'9' {
                kept[position] = b'0';
            } else {
                kept[position] += 1;
                break;
            }
        }
    }
    let point = kept.len() - decimals;
    let digits = String::from_utf8(kept).ok()?;
    let whole = if point == 0 { "0" } else { &digits[..point] };
    let sign = if negative { "-" } else { "" };
    Some(plain(format!("{sign}{whole}.{}", &digits[point..])))
}

/// Without zeros at the end, and without the sign of nothing.
fn plain(number: String) -> String {
    let short = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    let unsigned = short.trim_start_matches('-');
    if unsigned.bytes().all(|byte| matches!(byte, b'0' | b'.')) { "0".to_owned() } else { short.to_owned() }
}
