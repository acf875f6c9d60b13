//! The messages of graphql-transport-ws, and the codes that a connection is closed with.

use async_graphql::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::http::Body;

/// The name of the protocol, as the handshake has it.
pub(super) const PROTOCOL: &str = "graphql-transport-ws";
/// Longest id of a subscription, in bytes: every message repeats it.
const LONGEST_ID: usize = 128;

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Said {
    ConnectionInit {
        #[serde(default)]
        payload: Option<Map<String, Value>>,
    },
    Ping {},
    Pong {},
    Subscribe {
        id: String,
        payload: Body,
    },
    Complete {
        id: String,
    },
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Close(pub(super) u16, pub(super) &'static str);

pub(super) const GOING_AWAY: Close = Close(1001, "The service stops");
pub(super) const SILENT: Close = Close(1001, "Nothing was heard from the client");
pub(super) const TOO_LARGE: Close = Close(1009, "The message is too large");
pub(super) const INVALID: Close = Close(4400, "Not a message of graphql-transport-ws");
pub(super) const UNAUTHORIZED: Close = Close(4401, "Unauthorized");
pub(super) const FORBIDDEN: Close = Close(4403, "Forbidden");
pub(super) const INIT_TIMEOUT: Close = Close(4408, "Connection initialisation timeout");
pub(super) const DUPLICATE: Close = Close(4409, "Subscriber for this id already exists");
pub(super) const INIT_TWICE: Close = Close(4429, "Too many initialisation requests");
pub(super) const TRY_AGAIN: Close = Close(1013, "Try again later");
/// 1013 and not 4429, which means something else here: clients of the protocol try again after 1013, and are right to.
pub(super) const TOO_MANY_OF_ONE: Close =
    Close(1013, "This identity has as many connections open as one may have; close one, then try again");
pub(super) const TOO_MANY: Close = Close(1013, "There are no more connections to be had; try again later");

impl Said {
    /// Reads one message; `None` if it is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        // Read as a value first: of an object with one key twice the last counts, as everywhere here.
        let said: Self = serde_json::from_value(serde_json::from_str(text).ok()?).ok()?;
        match &said {
            Self::Subscribe { id, .. } | Self::Complete { id } if id.is_empty() || id.len() > LONGEST_ID => None,
            _ => Some(said),
        }
    }
}

pub(super) fn ack() -> String {
    json!({"type": "connection_ack"}).to_string()
}

pub(super) fn pong() -> String {
    json!({"type": "pong"}).to_string()
}

pub(super) fn next(id: &str, response: &Response) -> String {
    json!({"type": "next", "id": id, "payload": response}).to_string()
}

pub(super) fn error(id: &str, response: &Response) -> String {
    json!({"type": "error", "id": id, "payload": response.errors}).to_string()
}

pub(super) fn complete(id: &str) -> String {
    json!({"type": "complete", "id": id}).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_messages_of_the_protocol_are_read() {
        let long = format!(r#"{{"type":"complete","id":"{}"}}"#, "x".repeat(129));
        for (text, read) in [
            (r#"{"type":"connection_init"}"#, true),
            (r#"{"type":"connection_init","payload":null}"#, true),
            (r#"{"type":"connection_init","payload":{"Authorization":"Bearer x"}}"#, true),
            (r#"{"type":"connection_init","payload":[]}"#, false),
            (r#"{"type":"ping","payload":{"a":1}}"#, true),
            (r#"{"type":"pong"}"#, true),
            (r#"{"type":"subscribe","id":"1","payload":{"query":"subscription { a }"}}"#, true),
            (r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":null,"operationName":null}}"#, true),
            (r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#, false),
            (r#"{"type":"subscribe","payload":{"query":"{a}"}}"#, false),
            (r#"{"type":"subscribe","id":"1"}"#, false),
            (r#"{"type":"subscribe","id":"1","payload":[{"query":"{a}"}]}"#, false),
            (r#"{"type":"start","id":"1","payload":{"query":"{a}"}}"#, false),
            (r#"{"type":"complete","id":"1"}"#, true),
            (r#"{"type":"connection_terminate"}"#, false),
            (&long, false),
            ("[]", false),
            ("null", false),
            ("", false),
            (r#"{"type":"ping""#, false),
        ] {
            assert_eq!(Said::read(text).is_some(), read, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "\\PC{0,300}") {
            let _ = Said::read(&text);
        }
    }
}
