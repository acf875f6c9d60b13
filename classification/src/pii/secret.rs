//! Secrets: user names, passwords and tokens inside URLs, keys of clouds and other services, JSON Web Tokens.

use super::entity::{Entity, Finding};
use super::text::{end_of_word, is_word, starts_word};

/// Names of parameters whose values are secrets, wherever they stand.
const SECRET_NAMES: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "accesskey",
    "access_token",
    "refresh_token",
    "id_token",
    "auth_token",
    "authtoken",
    "client_secret",
    "secret",
    "secret_key",
    "private_key",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "aws_secret_access_key",
    "accountkey",
    "sharedaccesskey",
    "sharedaccesssignature",
];

/// Names of parameters whose values are secrets in the query of a URL, and something else in other texts.
const QUERY_NAMES: &[&str] = &[
    "pass",
    "token",
    "auth",
    "key",
    "sig",
    "signature",
    "sid",
    "session",
    "sessionid",
    "session_id",
    "jwt",
    "code",
    "user",
    "username",
    "usr",
    "login",
];

/// The longest secret value that is followed to its end, in bytes.
const LONGEST: usize = 4096;

/// Finds what stands between `://` and `@`, and the values of parameters that name a secret.
pub(super) fn url_credentials(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let mut position = 0;
    // The end of the last parameter's value. A URL inside is still looked at: it may be surer than the name is.
    let mut named = 0;
    while position < bytes.len() {
        match bytes[position] {
            b':' if bytes[position..].starts_with(b"://") => {
                if let Some((start, end, score)) = user_info(bytes, position + 3) {
                    found.push(Finding::known(Entity::UrlCredentials, start, end, score));
                    position = end;
                } else {
                    position += 3;
                }
            }
            b'=' if position >= named => {
                if let Some((start, end, score)) = parameter(bytes, position) {
                    found.push(Finding::known(Entity::UrlCredentials, start, end, score));
                    named = end;
                }
                position += 1;
            }
            _ => position += 1,
        }
    }
}

/// What ends a URL in a text.
fn ends_url(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'`')
}

/// The user and password of a URL whose authority begins at `start`.
fn user_info(bytes: &[u8], start: usize) -> Option<(usize, usize, u8)> {
    let rest = &bytes[start..bytes.len().min(start + LONGEST)];
    let url = &rest[..rest.iter().position(|&byte| ends_url(byte)).unwrap_or(rest.len())];
    // Another URL in the query has its own.
    let url = &url[..url.windows(3).position(|part| part == b"://").unwrap_or(url.len())];
    let authority = &url[..url.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(url.len())];
    if let Some(at) = authority.iter().rposition(|&byte| byte == b'@') {
        let password = authority[..at].contains(&b':');
        return (at > 0).then_some((start, start + at, if password { 95 } else { 60 }));
    }
    // A password may hold a slash or a question mark that nobody has encoded: what stands behind the colon is no port.
    let colon = authority.iter().position(|&byte| byte == b':')?;
    let port = authority[colon + 1..].iter().all(u8::is_ascii_digit);
    if port || authority.starts_with(b"[") {
        return None;
    }
    let at = url.iter().position(|&byte| byte == b'@')?;
    Some((start, start + at, 80))
}

/// The value behind the `=` at this position, if its name says that it is a secret.
fn parameter(bytes: &[u8], equals: usize) -> Option<(usize, usize, u8)> {
    let part = |&&byte: &&u8| is_word(byte) || byte == b'-';
    let length = bytes[..equals].iter().rev().take(32).take_while(part).count();
    let name = std::str::from_utf8(&bytes[equals - length..equals]).ok()?.to_ascii_lowercase();
    let before = equals.checked_sub(length + 1).map(|position| bytes[position]);
    let in_query = matches!(before, Some(b'?' | b'&'));
    // `channel_password=` and `user_password=` end like `password=`.
    let secret = SECRET_NAMES.iter().any(|secret| {
        name.strip_suffix(secret).is_some_and(|before| before.is_empty() || before.ends_with(['_', '-']))
    });
    let score = match (secret, in_query && QUERY_NAMES.contains(&name.as_str())) {
        (true, _) => 85,
        (_, true) => 70,
        _ => return None,
    };
    let quoted = bytes.get(equals + 1).copied().filter(|byte| matches!(byte, b'"' | b'\''));
    let start = equals + 1 + usize::from(quoted.is_some());
    let ends = |byte: u8| match quoted {
        Some(quote) => byte == quote,
        None => ends_url(byte) || matches!(byte, b'&' | b';' | b',' | b'\''),
    };
    let value =
        bytes[start..].iter().take(LONGEST).take_while(|&&byte| !ends(byte) && !matches!(byte, b'<' | b'>')).count();
    // A cut inside a character would not be a place to put anything.
    let mut end = start + value;
    while end < bytes.len() && bytes[end] & 0xc0 == 0x80 {
        end += 1;
    }
    (value > 0).then_some((start, end, score))
}

/// A kind of key: how it begins, what it consists of, and how long that part is at least and at most.
struct Key {
    prefix: &'static str,
    part: fn(u8) -> bool,
    least: usize,
    most: usize,
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn url_safe(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

fn dotted(byte: u8) -> bool {
    url_safe(byte) || byte == b'.'
}

const KEYS: &[Key] = &[
    Key { prefix: "AKIA", part: upper, least: 16, most: 16 },
    Key { prefix: "ASIA", part: upper, least: 16, most: 16 },
    Key { prefix: "ABIA", part: upper, least: 16, most: 16 },
    Key { prefix: "ACCA", part: upper, least: 16, most: 16 },
    Key { prefix: "AROA", part: upper, least: 16, most: 17 },
    Key { prefix: "AIDA", part: upper, least: 16, most: 17 },
    Key { prefix: "AIza", part: url_safe, least: 35, most: 35 },
    Key { prefix: "ya29.", part: url_safe, least: 20, most: LONGEST },
    Key { prefix: "GOCSPX-", part: url_safe, least: 20, most: 40 },
    Key { prefix: "ghp_", part: alnum, least: 36, most: 251 },
    Key { prefix: "gho_", part: alnum, least: 36, most: 251 },
    Key { prefix: "ghu_", part: alnum, least: 36, most: 251 },
    Key { prefix: "ghs_", part: alnum, least: 36, most: 251 },
    Key { prefix: "ghr_", part: alnum, least: 36, most: 251 },
    Key { prefix: "github_pat_", part: is_word, least: 22, most: 255 },
    Key { prefix: "glpat-", part: url_safe, least: 20, most: 64 },
    Key { prefix: "xoxb-", part: url_safe, least: 10, most: 255 },
    Key { prefix: "xoxp-", part: url_safe, least: 10, most: 255 },
    Key { prefix: "xoxa-", part: url_safe, least: 10, most: 255 },
    Key { prefix: "xoxr-", part: url_safe, least: 10, most: 255 },
    Key { prefix: "xoxs-", part: url_safe, least: 10, most: 255 },
    Key { prefix: "xapp-", part: url_safe, least: 10, most: 255 },
    Key { prefix: "sk_live_", part: alnum, least: 16, most: 255 },
    Key { prefix: "sk_test_", part: alnum, least: 16, most: 255 },
    Key { prefix: "rk_live_", part: alnum, least: 16, most: 255 },
    Key { prefix: "rk_test_", part: alnum, least: 16, most: 255 },
    Key { prefix: "SG.", part: dotted, least: 60, most: 70 },
    Key { prefix: "npm_", part: alnum, least: 36, most: 36 },
    Key { prefix: "pypi-", part: url_safe, least: 50, most: 255 },
    Key { prefix: "dop_v1_", part: alnum, least: 64, most: 64 },
    Key { prefix: "hf_", part: alnum, least: 30, most: 64 },
    Key { prefix: "sk-", part: url_safe, least: 32, most: 255 },
    Key { prefix: "eyJrIjoi", part: url_safe, least: 40, most: 255 },
    Key { prefix: "hvs.", part: url_safe, least: 24, most: 255 },
    Key { prefix: "dapi", part: alnum, least: 32, most: 36 },
];

/// The first letters of all prefixes, so that most words need no comparison.
const FIRST_LETTERS: &[u8] = b"AGSdeghnprsxy";

/// One bit for each of them, by what is left of its code modulo 64; capital and small letters differ in it.
const FIRST_LETTER_BITS: u64 = {
    let mut bits = 0;
    let mut index = 0;
    while index < FIRST_LETTERS.len() {
        bits |= 1 << (FIRST_LETTERS[index] % 64);
        index += 1;
    }
    bits
};

/// Finds keys of clouds and other services by their prefixes, and private keys by their first line.
pub(super) fn keys(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let mut position = 0;
    while position < bytes.len() {
        let byte = bytes[position];
        let (end, next) = if is_word(byte) {
            // A key begins a word: the rest of one that begins otherwise is none.
            let known = FIRST_LETTER_BITS >> (byte % 64) & 1 != 0 && starts_word(bytes, position);
            let end = if known { KEYS.iter().find_map(|key| key_at(bytes, position, key)) } else { None };
            (end, if end.is_none() { end_of_word(bytes, position) } else { position })
        } else {
            (if byte == b'-' { private_key(text, position) } else { None }, position + 1)
        };
        match end {
            Some(end) => {
                found.push(Finding::known(Entity::CloudKey, position, end, 95));
                position = end;
            }
            None => position = next,
        }
    }
}

fn key_at(bytes: &[u8], start: usize, key: &Key) -> Option<usize> {
    let rest = bytes[start..].strip_prefix(key.prefix.as_bytes())?;
    let length = rest.iter().take(key.most + 1).take_while(|&&byte| (key.part)(byte)).count();
    let body = &rest[..length];
    // A key is random: words joined by dashes have no digits, but neither has one key in thirty of sixteen letters.
    let joined = body.iter().any(|byte| !byte.is_ascii_alphanumeric());
    let random = body.iter().any(u8::is_ascii_alphabetic) && (!joined || body.iter().any(u8::is_ascii_digit));
    let end = start + key.prefix.len() + length;
    let apart = bytes.get(end).is_none_or(|&byte| !is_word(byte));
    ((key.least..=key.most).contains(&length) && apart && random).then_some(end)
}

/// `-----BEGIN … PRIVATE KEY-----` and everything up to its end, or to the end of the text.
fn private_key(text: &str, start: usize) -> Option<usize> {
    let rest = text[start..].strip_prefix("-----BEGIN ")?;
    let title = &rest.as_bytes()[..rest.len().min(64)];
    let title = &title[..title.windows(5).position(|part| part == b"-----")?];
    if !title.ends_with(b"PRIVATE KEY") && !title.ends_with(b"PRIVATE KEY BLOCK") {
        return None;
    }
    let body = &rest[title.len() + 5..];
    Some(match body.find("-----END ") {
        Some(position) => {
            let tail = &body[position + 9..];
            let close = tail.find("-----").map_or(tail.len(), |close| close + 5);
            text.len() - tail.len() + close
        }
        None => text.len(),
    })
}

/// Finds JSON Web Tokens: three or five parts, of which the first is a header.
pub(super) fn jwts(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let mut position = 0;
    while let Some(offset) = text[position..].find("eyJ") {
        let start = position + offset;
        position = start + 3;
        if !starts_word(bytes, start) {
            continue;
        }
        let part = |from: usize| bytes[from..].iter().take_while(|&&byte| url_safe(byte)).count();
        let head = part(start);
        let mut end = start + head;
        let mut parts = 1;
        while parts < 5 && bytes.get(end) == Some(&b'.') {
            end += 1 + part(end + 1);
            parts += 1;
        }
        if parts >= 3 && is_header(&bytes[start..start + head]) {
            let end = if bytes[end - 1] == b'.' && parts > 3 { end - 1 } else { end };
            found.push(Finding::known(Entity::Jwt, start, end, 95));
        }
        position = end.max(position);
    }
}

/// Whether base64url text decodes to a JSON object that names an algorithm, a type or a key.
fn is_header(part: &[u8]) -> bool {
    let mut decoded = Vec::with_capacity(part.len().min(1024) * 3 / 4);
    let mut bits = 0_u32;
    let mut count = 0;
    for &byte in part.iter().take(1024) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count) as u8);
        }
    }
    let text = String::from_utf8_lossy(&decoded);
    text.starts_with('{') && ["\"alg\"", "\"typ\"", "\"kid\"", "\"enc\""].iter().any(|name| text.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_begins_with_a_first_letter() {
        assert!(KEYS.iter().all(|key| FIRST_LETTERS.contains(&key.prefix.as_bytes()[0])));
    }
}
