//! E-mail addresses, also with letters beyond ASCII, quoted names, and `%40` as in URLs.

use super::entity::{Entity, Finding};

/// How far a name may reach before the sign, in bytes, and a domain behind it.
const LONGEST_NAME: usize = 256;
const LONGEST_DOMAIN: usize = 256;

/// Names of files that look like domains: `camera@2x.png`.
const FILES: &[&str] = &[
    "png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "css", "js", "json", "xml", "html", "htm", "csv", "txt",
    "pdf", "mp4", "parquet",
];

/// Finds e-mail addresses.
pub(super) fn emails(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let mut behind = 0;
    let mut position = 0;
    while position < bytes.len() {
        let sign = match bytes[position] {
            b'@' => 1,
            b'%' if bytes[position..].starts_with(b"%40") => 3,
            _ => {
                position += 1;
                continue;
            }
        };
        if let Some(start) = name_before(text, behind, position)
            && let Some(end) = domain_behind(text, position + sign)
        {
            found.push(Finding::known(Entity::Email, start, end, 90));
            behind = end;
            position = end;
        } else {
            position += sign;
        }
    }
}

/// Whether a character may stand in a name. What URLs and lists put around an address is not among them.
fn in_name(c: char) -> bool {
    c.is_alphanumeric() || "._%+-'!#$*^`{|}~".contains(c)
}

/// Where the name begins that ends before the sign at `end`; nothing before `from` belongs to it.
fn name_before(text: &str, from: usize, end: usize) -> Option<usize> {
    let before = &text[from..end];
    if let Some(inner) = before.strip_suffix('"') {
        let quoted = inner.rfind('"')?;
        return (before.len() - quoted <= LONGEST_NAME).then_some(from + quoted);
    }
    let mut start = end;
    for (position, c) in before.char_indices().rev() {
        if !in_name(c) || end - (from + position) > LONGEST_NAME {
            break;
        }
        start = from + position;
    }
    // `'jane@…'` and `...jane@…`: what stands around a name is not part of it.
    let name = &text[start..end];
    start += name.len() - name.trim_start_matches(['.', '\'', '`', '*', '|', '~', '#', '!', '{', '}', '^']).len();
    text[start..end].chars().any(char::is_alphanumeric).then_some(start)
}

/// Where the domain ends that begins at `start`, if it is one.
fn domain_behind(text: &str, start: usize) -> Option<usize> {
    let rest = &text[start..];
    if rest.starts_with('[') {
        let close = rest.bytes().take(64).position(|byte| byte == b']')?;
        let address = rest[1..close].trim_start_matches("IPv6:");
        return address.parse::<std::net::IpAddr>().is_ok().then_some(start + close + 1);
    }
    let mut length = 0;
    for (position, c) in rest.char_indices() {
        if !(c.is_alphanumeric() || c == '-' || c == '.') || position > LONGEST_DOMAIN {
            break;
        }
        length = position + c.len_utf8();
    }
    let mut domain = rest[..length].trim_end_matches(['.', '-']);
    // Text that goes on without a space, and numbers behind a full stop, are cut off from the right.
    loop {
        let (host, top) = domain.rsplit_once('.')?;
        let label =
            |label: &str| !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-');
        let named = top.chars().all(char::is_alphabetic) && top.chars().count() >= 2 || top.starts_with("xn--");
        if named && label(top) && host.split('.').all(label) {
            let file = FILES.iter().any(|file| top.eq_ignore_ascii_case(file));
            return (!file).then_some(start + domain.len());
        }
        domain = host.trim_end_matches('-');
    }
}
