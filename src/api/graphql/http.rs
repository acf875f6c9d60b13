//! GraphQL over HTTP, more narrowly than the GraphQL library would take it: POST, JSON, one document a request.
//!
//! A form, a GET or a text/plain body can be sent by any page that a browser has open; JSON cannot without asking
//! first, and nobody here answers that question.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::Variables;
use axum::Extension;
use axum::body::Body as HttpBody;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;

use super::super::auth::Identity;
use super::super::problem::Problem;
use super::super::scope::RequestId;
use super::super::visitor::visitor;
use super::Endpoint;
use crate::error::ErrorCode;

/// Most bytes of a request's body.
const MOST_BODY_BYTES: usize = 64 * 1024;
/// A body that is too large is read on to here, so that its sender hears why instead of a broken connection.
const MOST_DISCARDED_BYTES: usize = 1024 * 1024;

/// A request as it stands in the body. Whatever else stands there is ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    pub(super) query: String,
    #[serde(default)]
    pub(super) operation_name: Option<String>,
    #[serde(default, deserialize_with = "variables")]
    pub(super) variables: Variables,
}

fn variables<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Variables, D::Error> {
    Ok(Option::<serde_json::Map<String, Value>>::deserialize(from)?
        .map(|map| Variables::from_json(Value::Object(map)))
        .unwrap_or_default())
}

/// `POST /graphql`.
pub(in crate::api) async fn answer(
    State(endpoint): State<Arc<Endpoint>>,
    Extension(identity): Extension<Identity>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Result<Response, Problem> {
    is_plain_json(request.headers())?;
    let (parts, body) = request.into_parts();
    let body = read(&parts.headers, body, endpoint.request_timeout).await?;
    let body = parse(&body)?;
    if let Err(too_much) = endpoint.admit(&identity, &id) {
        let mut response = written(&too_much.response)?;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(too_much.seconds));
        return Ok(response);
    }
    let (answer, timed_out) = Box::pin(endpoint.run(body, identity, visitor(&parts), &id)).await;
    let mut response = written(&answer)?;
    if timed_out {
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    }
    Ok(response)
}

fn written(answer: &async_graphql::Response) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(answer).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        Problem::internal()
    })?;
    let mut response = bytes.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    Ok(response)
}

/// The body must say that it is JSON, in UTF-8, and not packed.
fn is_plain_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |detail: &str| Err(Problem::bad(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next().unwrap_or_default().eq_ignore_ascii_case("application/json") {
        return refused("send the request as JSON, with Content-Type: application/json");
    }
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name.eq_ignore_ascii_case("charset") && !value.trim_matches('"').eq_ignore_ascii_case("utf-8") {
            return refused("JSON is read as UTF-8 only");
        }
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => refused("a compressed body is not read"),
        _ => Ok(()),
    }
}

async fn read(headers: &HeaderMap, body: HttpBody, within: Duration) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|length| length.parse().ok()).is_some_and(|length: u64| length > MOST_DISCARDED_BYTES as u64)
    {
        return Err(too_large());
    }
    match tokio::time::timeout(within, collect(body)).await {
        Ok(body) => body,
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            ErrorCode::RequestTimeout,
            format!("the body did not arrive within {} seconds", within.as_secs_f64()),
        )
        .with_header(header::CONNECTION, "close")),
    }
}

async fn collect(mut body: HttpBody) -> Result<Bytes, Problem> {
    let (mut bytes, mut seen) = (BytesMut::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::bad(StatusCode::BAD_REQUEST, "the body ended before it was whole"))?;
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= MOST_BODY_BYTES {
            bytes.extend_from_slice(&data);
        } else if seen > MOST_DISCARDED_BYTES {
            break;
        }
    }
    if seen > MOST_BODY_BYTES { Err(too_large()) } else { Ok(bytes.freeze()) }
}

fn too_large() -> Problem {
    let detail = format!("the body is larger than {MOST_BODY_BYTES} bytes");
    Problem::bad(StatusCode::PAYLOAD_TOO_LARGE, detail).with_header(header::CONNECTION, "close")
}

fn parse(body: &[u8]) -> Result<Body, Problem> {
    let bad = |detail: String| Problem::bad(StatusCode::BAD_REQUEST, detail);
    // The parser's message tells line and column; it repeats nothing but single characters.
    let value: Value = serde_json::from_slice(body).map_err(|error| bad(format!("the body is not JSON: {error}")))?;
    match value {
        Value::Array(_) => Err(bad("batches are not answered; send one document a request".to_owned())),
        Value::Object(_) => serde_json::from_value(value).map_err(|_| {
            bad("the body must be an object with query (text), and if need be variables (an object) and \
                 operationName (text)"
                .to_owned())
        }),
        _ => Err(bad("the body must be a JSON object with a query".to_owned())),
    }
}
