//! What holds for every request alike: its id, its log line and metrics, the headers of its answer, and that a panic
//! ends one request and nothing else.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tracing::Instrument;
use uuid::Uuid;

use super::client::Proxies;
use super::problem::Problem;
use super::server::Peer;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names one request in its answer and in the log.
#[derive(Debug, Clone)]
pub(super) struct RequestId(Arc<str>);

impl RequestId {
    /// The caller's own id where it can stand in a log line, else a new one.
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| Self::is_sane(id));
        given.map_or_else(|| Self(Uuid::new_v4().to_string().into()), |id| Self(id.into()))
    }

    fn is_sane(id: &str) -> bool {
        (1..=128).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The outermost layer.
pub(super) async fn scope(State(proxies): State<Arc<Proxies>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    let route = route_of(request.uri().path());
    let method = request.method().clone();
    request.extensions_mut().insert(id.clone());
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
    let client = peer.map(|peer| proxies.client(peer, request.headers()));
    let span = tracing::info_span!("request", request_id = id.as_str(), %method, route, client = tracing::field::Empty);
    if let Some(client) = client {
        span.record("client", tracing::field::display(client.0));
        request.extensions_mut().insert(client);
    }

    async {
        let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let mut response = answered.unwrap_or_else(|_| {
            // The payload may hold values; the panic hook has said where it was.
            tracing::error!("a request panicked");
            Problem::internal().into_response()
        });
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            let allow = response.headers_mut().remove(header::ALLOW);
            response = problem.render(Some(&id));
            if let Some(allow) = allow {
                response.headers_mut().insert(header::ALLOW, allow);
            }
        }
        add_headers(response.headers_mut(), &id);
        record(method.as_str(), route, &response, started);
        response
    }
    .instrument(span)
    .await
}

fn add_headers(headers: &mut HeaderMap, id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(X_REQUEST_ID, value);
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Answers hold links, which are secrets while they work; GraphiQL's page and files set their own.
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

fn record(method: &str, route: &'static str, response: &Response, started: Instant) {
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    // Methods are the caller's to invent; as a label they are a closed set.
    let method = match method {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    };
    let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
    metrics::counter!("data_exporter_http_requests_total", &labels).increment(1);
    metrics::histogram!("data_exporter_http_request_seconds", "route" => route).record(elapsed.as_secs_f64());
    let milliseconds = elapsed.as_secs_f64() * 1000.0;
    if route == "/graphql" {
        tracing::info!(status, milliseconds, "answered");
    } else {
        tracing::debug!(status, milliseconds, "answered");
    }
}

/// The route as a label: never the caller's own text.
fn route_of(path: &str) -> &'static str {
    match path {
        "/graphql" => "/graphql",
        "/livez" => "/livez",
        "/readyz" => "/readyz",
        "/metrics" => "/metrics",
        "/graphql/ws" => "/graphql/ws",
        // What follows is a secret while the link works.
        path if path.starts_with("/v1/files/") => "/v1/files",
        path if path.starts_with("/graphql/assets/") => "/graphql/assets",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::StatusCode;
    use axum::middleware;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    #[test]
    fn only_ids_that_can_stand_in_a_log_line_are_taken_over() {
        for (given, sane) in [
            ("0190b5f2-5a3e-7cc0-8000-0123456789ab", true),
            ("a.b_c-D9", true),
            ("", false),
            ("two words", false),
            ("line\tbreak", false),
            ("quote\"", false),
            ("é", false),
        ] {
            assert_eq!(RequestId::is_sane(given), sane, "{given:?}");
        }
        assert!(RequestId::is_sane(&"x".repeat(128)) && !RequestId::is_sane(&"x".repeat(129)));
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_problem_that_names_the_request_and_not_the_cause() {
        async fn panics() -> StatusCode {
            panic!("with a cell value in it")
        }
        let app = Router::new()
            .route("/", get(panics))
            .layer(middleware::from_fn_with_state(Arc::new(Proxies::default()), scope));
        let request = Request::builder().uri("/").header(X_REQUEST_ID, "mine").body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[X_REQUEST_ID], "mine");
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((body["code"].as_str(), body["requestId"].as_str()), (Some("INTERNAL"), Some("mine")));
        assert!(!body.to_string().contains("cell value"));
    }
}
