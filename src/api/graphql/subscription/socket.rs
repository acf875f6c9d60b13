//! `/graphql/ws`: one connection, from its handshake to its close.
//!
//! A connection holds little: the subscriptions that it has asked for, at most one message on its way out, and none
//! that waits. While a message cannot be sent nothing more is made, and after a while the connection is given up.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationType};
use async_graphql::{Request, Response, Value};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request as HttpRequest, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response as HttpResponse;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Map;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::super::super::auth::{Authenticator, Identity};
use super::super::super::problem::Problem;
use super::super::super::scope::RequestId;
use super::super::super::server::Peer;
use super::super::super::visitor::visitor;
use super::super::http::Body;
use super::super::{Endpoint, errors, guard};
use super::places::{Full, Place, Places};
use super::protocol::{self, Close, PROTOCOL, Said};
use crate::error::{ErrorCode, Failure};
use crate::links::Visitor;

/// Connections of this process at once whose identity is known.
const MOST_CONNECTIONS: usize = 256;
/// Connections at once that have not said yet who they are, in all and from one address. They are let go after
/// [`INIT_WITHIN`], and hold none of the others' places.
const MOST_UNKNOWN: usize = 64;
const MOST_UNKNOWN_OF_ADDRESS: usize = 32;
/// Subscriptions of one connection at once.
const MOST_SUBSCRIPTIONS: usize = 16;
/// Largest message of a client, in bytes.
const MOST_MESSAGE_BYTES: usize = 64 * 1024;
/// Until a client must have said who it is.
const INIT_WITHIN: Duration = Duration::from_secs(10);
/// How long a message may take to be sent.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// Between two pings, which keep proxies from closing, and tell of clients that are gone.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Without a word from the client, a pong included, for so long it is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// How often it is asked again whether the identity still holds.
const RECHECK_EVERY: Duration = Duration::from_secs(2);

/// Whose a place is: a tenant's name and a subject.
type Holder = (String, String);

/// What connections share.
#[derive(Clone)]
pub(in crate::api) struct Sockets {
    endpoint: Arc<Endpoint>,
    auth: Arc<Authenticator>,
    /// Of those who have not said yet who they are, by address.
    unknown: Arc<Places<Option<String>>>,
    known: Arc<Places<Holder>>,
}

impl Sockets {
    /// `of_identity`: most connections of one identity at once.
    pub(in crate::api) fn new(endpoint: Arc<Endpoint>, auth: Arc<Authenticator>, of_identity: usize) -> Self {
        Self {
            endpoint,
            auth,
            unknown: Arc::new(Places::new(MOST_UNKNOWN_OF_ADDRESS, MOST_UNKNOWN)),
            known: Arc::new(Places::new(of_identity, MOST_CONNECTIONS)),
        }
    }
}

/// `GET /graphql/ws`.
pub(in crate::api) async fn upgrade(
    State(sockets): State<Sockets>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (parts, _) = request.into_parts();
    let bad = |detail: &str| Problem::bad(StatusCode::BAD_REQUEST, detail);
    let mut upgrade =
        upgrade.map_err(|_| bad("this path speaks websocket; everything else is asked by POST /graphql"))?;
    if !same_host(&parts.headers) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            ErrorCode::Forbidden,
            "pages of another host may not connect; the Origin must be the host that is connected to",
        ));
    }
    upgrade = upgrade.protocols([PROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return Err(bad("the only protocol here is graphql-transport-ws; name it in Sec-WebSocket-Protocol"));
    }
    // A browser cannot send this header, so without it the first message may say who asks.
    if parts.headers.contains_key(header::AUTHORIZATION) {
        sockets.auth.identity(&parts.headers).await.map_err(|failure| match failure.code {
            ErrorCode::Unauthenticated => {
                Problem::of(StatusCode::UNAUTHORIZED, failure).with_header(header::WWW_AUTHENTICATE, "Bearer")
            }
            _ => Problem::of(StatusCode::SERVICE_UNAVAILABLE, failure),
        })?;
    }
    let (Some(peer), Some(id)) =
        (parts.extensions.get::<Peer>().cloned(), parts.extensions.get::<RequestId>().cloned())
    else {
        return Err(Problem::internal());
    };
    let full = |detail: String| {
        metrics::counter!("data_exporter_websockets_refused_total").increment(1);
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::TooManyRequests, detail)
    };
    if sockets.known.is_full() {
        return Err(full(format!(
            "{MOST_CONNECTIONS} connections are open already; poll requestStatus, or try again later"
        )));
    }
    let visitor = visitor(&parts);
    let place = sockets.unknown.take(visitor.address.clone()).map_err(|_| {
        full("too many connections have not said yet who they are; send connection_init, or try again later".to_owned())
    })?;
    let connection = Connection {
        visitor,
        place: Held::Unknown(place),
        known: sockets.known,
        headers: parts.headers,
        endpoint: sockets.endpoint,
        auth: sockets.auth,
        id,
        identity: None,
        subscriptions: Vec::new(),
        turn: 0,
    };
    Ok(upgrade
        .max_message_size(MOST_MESSAGE_BYTES)
        .max_frame_size(MOST_MESSAGE_BYTES)
        .write_buffer_size(0)
        .on_upgrade(move |socket| serve(connection, socket, peer)))
}

/// Whether a page may connect: one of this host, or no page at all.
fn same_host(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let (Some(origin), Some(host)) = (origin, host) else { return false };
    let default = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    origin
        .authority()
        .is_some_and(|origin| origin.host().eq_ignore_ascii_case(host.host()) && port(origin) == port(&host))
}

/// The place of a connection, before it has said who it is and after. Held, and never looked at.
enum Held {
    Unknown(#[expect(dead_code, reason = "it is free when it is dropped")] Place<Option<String>>),
    Known(#[expect(dead_code, reason = "it is free when it is dropped")] Place<Holder>),
}

struct Connection {
    place: Held,
    known: Arc<Places<Holder>>,
    endpoint: Arc<Endpoint>,
    auth: Arc<Authenticator>,
    headers: HeaderMap,
    visitor: Visitor,
    id: RequestId,
    identity: Option<Identity>,
    subscriptions: Vec<(String, BoxStream<'static, Response>)>,
    /// Which of them is asked first next time, so that a busy one does not hide the others.
    turn: usize,
}

async fn serve(mut connection: Connection, mut socket: WebSocket, peer: Peer) {
    metrics::gauge!("data_exporter_websockets").increment(1);
    let close = tokio::select! {
        close = Box::pin(connection.run(&mut socket, &peer)) => close,
        () = peer.cut.cancelled() => None,
    };
    if let Some(Close(code, reason)) = close {
        let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        // Whether the client hears it is the client's affair.
        let _ = timeout(Duration::from_secs(1), socket.send(frame)).await;
    }
    metrics::gauge!("data_exporter_websockets").decrement(1);
    drop((connection, socket, peer));
}

impl Connection {
    /// Until the connection ends; what it is to be closed with, if it is not closed already.
    async fn run(&mut self, socket: &mut WebSocket, peer: &Peer) -> Option<Close> {
        let begun = Instant::now();
        let mut heard = begun;
        let ticks = |every| {
            let mut ticks = interval_at(begun + every, every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut pings, mut rechecks) = (ticks(PING_EVERY), ticks(RECHECK_EVERY));
        loop {
            let message = tokio::select! {
                said = socket.recv() => {
                    heard = Instant::now();
                    match said {
                        Some(Ok(Message::Text(text))) => match self.hear(&text).await {
                            Ok(answer) => answer.map(|text| Message::Text(text.into())),
                            Err(close) => return Some(close),
                        },
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => None,
                        Some(Ok(Message::Binary(_))) => return Some(protocol::INVALID),
                        Some(Ok(Message::Close(_))) | None => return None,
                        // Too large, or no websocket any more.
                        Some(Err(_)) => return Some(protocol::TOO_LARGE),
                    }
                }
                message = self.next(), if !self.subscriptions.is_empty() => Some(Message::Text(message.into())),
                _ = pings.tick() => {
                    if heard.elapsed() >= SILENCE {
                        return Some(protocol::SILENT);
                    }
                    Some(Message::Ping(bytes::Bytes::new()))
                }
                _ = rechecks.tick(), if self.identity.is_some() => match self.still_holds().await {
                    true => None,
                    false => return Some(protocol::UNAUTHORIZED),
                },
                () = sleep_until(begun + INIT_WITHIN), if self.identity.is_none() => return Some(protocol::INIT_TIMEOUT),
                () = peer.shutdown.cancelled() => return Some(protocol::GOING_AWAY),
            };
            if let Some(message) = message {
                match timeout(SEND_WITHIN, socket.send(message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return None,
                    Err(_) => {
                        metrics::counter!("data_exporter_websockets_too_slow_total").increment(1);
                        return None;
                    }
                }
            }
        }
    }

    /// What is answered at once to what a client says.
    async fn hear(&mut self, text: &str) -> Result<Option<String>, Close> {
        match Said::read(text).ok_or(protocol::INVALID)? {
            Said::ConnectionInit { .. } if self.identity.is_some() => Err(protocol::INIT_TWICE),
            Said::ConnectionInit { payload } => {
                self.take_credential(payload.unwrap_or_default())?;
                match self.auth.identity(&self.headers).await {
                    Ok(identity) => {
                        self.take_place(&identity)?;
                        self.identity = Some(identity);
                    }
                    Err(failure) if failure.code == ErrorCode::Unauthenticated => return Err(protocol::UNAUTHORIZED),
                    Err(failure) if failure.code == ErrorCode::Forbidden => return Err(protocol::FORBIDDEN),
                    Err(_) => return Err(protocol::TRY_AGAIN),
                }
                Ok(Some(protocol::ack()))
            }
            Said::Ping {} => Ok(Some(protocol::pong())),
            Said::Pong {} => Ok(None),
            Said::Subscribe { id, payload } => self.subscribe(id, payload),
            Said::Complete { id } => {
                self.subscriptions.retain(|(known, _)| *known != id);
                Ok(None)
            }
        }
    }

    /// Takes a place of this identity's, and gives back the one for those who are not known.
    fn take_place(&mut self, identity: &Identity) -> Result<(), Close> {
        let place = self.known.take((identity.tenant.as_str().to_owned(), identity.subject.clone()));
        self.place = Held::Known(place.map_err(|full| {
            metrics::counter!("data_exporter_websockets_refused_total").increment(1);
            match full {
                Full::ForOne => protocol::TOO_MANY_OF_ONE,
                Full::ForAll => protocol::TOO_MANY,
            }
        })?);
        Ok(())
    }

    /// The credential of the first message stands for the header that a browser cannot send.
    fn take_credential(&mut self, mut payload: Map<String, serde_json::Value>) -> Result<(), Close> {
        let given = payload.remove("Authorization").or_else(|| payload.remove("authorization"));
        match given {
            None | Some(serde_json::Value::Null) => Ok(()),
            Some(serde_json::Value::String(text)) => {
                let mut value = HeaderValue::from_str(&text).map_err(|_| protocol::UNAUTHORIZED)?;
                value.set_sensitive(true);
                self.headers.insert(header::AUTHORIZATION, value);
                Ok(())
            }
            Some(_) => Err(protocol::UNAUTHORIZED),
        }
    }

    /// Whether the identity is still the same. A database that is away for a moment takes nobody's identity.
    async fn still_holds(&mut self) -> bool {
        match self.auth.identity(&self.headers).await {
            Ok(identity) => self.identity.as_ref() == Some(&identity),
            Err(failure) => failure.code != ErrorCode::Unauthenticated,
        }
    }

    fn subscribe(&mut self, id: String, body: Body) -> Result<Option<String>, Close> {
        let identity = self.identity.clone().ok_or(protocol::UNAUTHORIZED)?;
        if self.subscriptions.iter().any(|(known, _)| *known == id) {
            return Err(protocol::DUPLICATE);
        }
        let refuse = |code, message: String| {
            let error = errors::of(Failure::new(code, message)).into_server_error(Default::default());
            Response::from_errors(vec![error])
        };
        let begun = if let Err(too_much) = self.endpoint.admit(&identity, &self.id) {
            Err(too_much.response)
        } else if self.subscriptions.len() >= MOST_SUBSCRIPTIONS {
            let detail = format!("{MOST_SUBSCRIPTIONS} subscriptions are open on this connection; complete one first");
            Err(refuse(ErrorCode::TooManyRequests, detail))
        } else {
            match guard::check(&body.query, self.endpoint.introspection) {
                Err(refused) => Err(Response::from_errors(vec![refused])),
                Ok(document) if !subscribes(&document, body.operation_name.as_deref()) => Err(refuse(
                    ErrorCode::BadRequest,
                    "only subscriptions are answered here; send queries and mutations by POST /graphql".to_owned(),
                )),
                Ok(document) => {
                    let mut request = Request::new(body.query).variables(body.variables);
                    request = request.data(identity).data(self.visitor.clone());
                    request.operation_name = body.operation_name;
                    request.set_parsed_query(document);
                    Ok(self.endpoint.schema.execute_stream(request).boxed())
                }
            }
        };
        match begun {
            Ok(stream) => {
                self.subscriptions.push((id, stream));
                Ok(None)
            }
            Err(mut response) => {
                errors::finish(&mut response, &self.id);
                Ok(Some(protocol::error(&id, &response)))
            }
        }
    }

    /// The next message of any subscription. Never ends while there is none.
    async fn next(&mut self) -> String {
        let (at, response) = poll_fn(|cx| {
            let count = self.subscriptions.len();
            for at in (0..count).map(|step| (self.turn + step) % count) {
                if let Poll::Ready(response) = self.subscriptions[at].1.poll_next_unpin(cx) {
                    return Poll::Ready((at, response));
                }
            }
            Poll::Pending
        })
        .await;
        self.turn = at + 1;
        let id = &self.subscriptions[at].0;
        let Some(mut response) = response else {
            let message = protocol::complete(id);
            drop(self.subscriptions.remove(at));
            return message;
        };
        errors::finish(&mut response, &self.id);
        if response.data == Value::Null && response.is_err() {
            let message = protocol::error(id, &response);
            drop(self.subscriptions.remove(at));
            return message;
        }
        protocol::next(id, &response)
    }
}

/// Whether the operation that is meant is a subscription. What is ambiguous is left to the library to refuse.
fn subscribes(document: &ExecutableDocument, name: Option<&str>) -> bool {
    let is = |kind: OperationType| kind == OperationType::Subscription;
    match &document.operations {
        DocumentOperations::Single(operation) => is(operation.node.ty),
        DocumentOperations::Multiple(operations) => match name {
            Some(name) => operations.get(name).is_some_and(|operation| is(operation.node.ty)),
            None => operations.values().all(|operation| is(operation.node.ty)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_same_host_connect() {
        for (origin, host, allowed) in [
            (None, "exports.example", true),
            (Some("https://exports.example"), "exports.example", true),
            (Some("https://exports.example"), "exports.example:443", true),
            (Some("http://EXPORTS.example:80"), "exports.example", true),
            (Some("http://localhost:8080"), "localhost:8080", true),
            (Some("http://[::1]:8080"), "[::1]:8080", true),
            (Some("http://localhost:8081"), "localhost:8080", false),
            (Some("https://exports.example"), "exports.example:8443", false),
            (Some("https://evil.example"), "exports.example", false),
            (Some("https://exports.example.evil.example"), "exports.example", false),
            (Some("null"), "exports.example", false),
            (Some("file://"), "exports.example", false),
            (Some("ftp://exports.example"), "exports.example", false),
            (Some(""), "exports.example", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(same_host(&headers), allowed, "{origin:?} at {host}");
        }
    }
}
