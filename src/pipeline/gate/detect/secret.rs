//! What opens doors: passwords in URLs and parameters, keys of clouds and services, JSON Web Tokens.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use regex::Regex;
use serde_json::{Map, Value};

use super::number::pattern;
use super::{Hit, at, before, in_word, stands_alone};

/// Names of parameters that hold secrets.
macro_rules! secret_names {
    () => {
        "password|passwd|pwd|api_key|apikey|api-key|access_key|access_token|refresh_token|client_secret|secret_key|\
         private_key|aws_secret_access_key|x-amz-signature|x-amz-security-token|accountkey|sharedaccesskey"
    };
}

/// How keys begin, as a pattern.
pub(super) const KEY_NEED: &str = "A[KS]IA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{35}|gh[posu]_[0-9A-Za-z]{36}|\
     github_pat_[0-9A-Za-z_]{22}|glpat-[0-9A-Za-z_-]{20}|xox[bp]-[0-9A-Za-z-]{10}|[sr]k_live_[0-9A-Za-z]{16}|\
     -----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----";
pub(super) const CREDENTIALS_NEED: &str =
    concat!(r"://[^\x00-\x20/?#@]+@|(?i-u:", secret_names!(), r#")=["']?[0-9A-Za-z]"#);

static USER_INFO: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"://[^\s/?#@:"'<>\\`|]{1,128}:[^\s/?#@"'<>\\`|]{1,128}@[0-9A-Za-z\[]"#));
static PARAMETER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"(?:^|[^0-9A-Za-z_-])(?i-u:",
        secret_names!(),
        r#")=["']?([0-9A-Za-z](?:[0-9A-Za-z+/_.~%-]){3,})"#
    ))
});
static KEY: LazyLock<Regex> = LazyLock::new(|| pattern(KEY_NEED));
static TOKEN: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"eyJ[0-9A-Za-z_-]{8,1000}\.[0-9A-Za-z_-]{2,}\.[0-9A-Za-z_-]*"));

/// User and password of a URL, and parameters that are named like secrets.
pub(super) fn credentials(text: &str, hits: &mut Vec<Hit>) {
    hits.extend(USER_INFO.find_iter(text).map(|found| (found.start() + 3, found.end() - 2, 95)));
    let values = PARAMETER.captures_iter(text).filter_map(|found| found.get(1));
    hits.extend(values.map(|value| (value.start(), value.end(), 85)));
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn letters(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn url_safe(byte: u8) -> bool {
    in_word(byte) || byte == b'-'
}

/// A kind of key.
struct Key {
    /// How it begins.
    prefix: &'static str,
    /// What follows.
    part: fn(u8) -> bool,
    /// How long that is at least.
    least: usize,
    /// How long that is at most.
    most: usize,
}

const fn key(prefix: &'static str, part: fn(u8) -> bool, least: usize, most: usize) -> Key {
    Key { prefix, part, least, most }
}

const KEYS: &[Key] = &[
    key("AKIA", upper, 16, 16),
    key("ASIA", upper, 16, 16),
    key("AIza", url_safe, 35, 35),
    key("ghp_", letters, 36, 251),
    key("gho_", letters, 36, 251),
    key("ghs_", letters, 36, 251),
    key("ghu_", letters, 36, 251),
    key("github_pat_", in_word, 22, 255),
    key("glpat-", url_safe, 20, 64),
    key("xoxb-", url_safe, 10, 255),
    key("xoxp-", url_safe, 10, 255),
    key("sk_live_", letters, 16, 255),
    key("rk_live_", letters, 16, 255),
];

/// Keys of clouds and services, and the first line of a private key.
pub(super) fn keys(text: &str, hits: &mut Vec<Hit>) {
    for found in KEY.find_iter(text) {
        if found.as_str().starts_with('-') {
            hits.push((found.start(), found.end(), 95));
            continue;
        }
        let Some(Key { prefix, part, least, most }) = KEYS.iter().find(|key| found.as_str().starts_with(key.prefix))
        else {
            continue;
        };
        let body = &text[found.start() + prefix.len()..];
        let length = body.bytes().take_while(|&byte| part(byte)).count();
        let end = found.start() + prefix.len() + length;
        let body = &body[..length];
        // Words that are joined by dashes have no digits; a key of sixteen letters often has none either.
        let joined = !body.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let random = body.bytes().any(|byte| byte.is_ascii_alphabetic())
            && (!joined || body.bytes().any(|byte| byte.is_ascii_digit()));
        if (*least..=*most).contains(&length) && random && stands_alone(text, found.start(), end) {
            hits.push((found.start(), end, 95));
        }
    }
}

/// JSON Web Tokens (RFC 7519): three parts, the first of which says how it was signed.
pub(super) fn jwts(text: &str, hits: &mut Vec<Hit>) {
    for found in TOKEN.find_iter(text) {
        let fresh = !before(text, found.start()).is_some_and(|byte| url_safe(byte) || byte == b'.');
        let header = found.as_str().split('.').next().unwrap_or_default();
        let named = URL_SAFE_NO_PAD.decode(header).ok().is_some_and(|decoded| {
            serde_json::from_slice::<Map<String, Value>>(&decoded).is_ok_and(|header| header.contains_key("alg"))
                && String::from_utf8_lossy(&decoded).contains("\"alg\"")
        });
        if fresh && named && at(text, found.end()).is_none_or(|byte| !in_word(byte)) {
            hits.push((found.start(), found.end(), 95));
        }
    }
}
