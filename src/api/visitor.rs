//! Where a request came from, for the audit of links and of administrators. None of it
//! proves anything.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, USER_AGENT};
use axum::http::request::Parts;

use super::client::ClientAddress;
use super::scope::RequestId;
use crate::links::Visitor;

/// Most of a header that is kept, in characters.
const MOST_KEPT: usize = 512;

/// The visitor behind a request.
pub(super) fn visitor(parts: &Parts) -> Visitor {
    Visitor {
        address: parts.extensions.get::<ClientAddress>().map(|client| client.0.to_string()),
        forwarded_for: kept(&parts.headers, HeaderName::from_static("x-forwarded-for")),
        user_agent: kept(&parts.headers, USER_AGENT),
        request_id: parts.extensions.get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default(),
    }
}

/// The beginning of a header, without what does not belong into a text.
fn kept(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    let text = String::from_utf8_lossy(value.as_bytes());
    let text: String = text.chars().filter(|c| !c.is_control()).take(MOST_KEPT).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_kept_short_and_printable() {
        for (given, expected) in [
            (&b"curl/8.5.0"[..], Some("curl/8.5.0".to_owned())),
            (b"a\tb", Some("ab".to_owned())),
            (b"gr\xc3\xb6\xc3\x9fe", Some("größe".to_owned())),
            (b"\xff", Some("\u{fffd}".to_owned())),
            (b"", None),
            (&[b'x'; 2_000], Some("x".repeat(MOST_KEPT))),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, axum::http::HeaderValue::from_bytes(given).unwrap());
            assert_eq!(kept(&headers, USER_AGENT), expected);
        }
    }
}
