//! Errors outside GraphQL, as `application/problem+json` with the stable code.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::scope::RequestId;
use crate::error::{ErrorCode, Failure};

/// What went wrong, before it is known which request it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    code: ErrorCode,
    detail: String,
    header: Option<(header::HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), header: None }
    }

    pub(super) fn of(status: StatusCode, failure: Failure) -> Self {
        Self::new(status, failure.code, failure.message)
    }

    pub(super) fn code(&self) -> ErrorCode {
        self.code
    }

    /// A request that cannot be read.
    pub(super) fn bad(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::new(status, ErrorCode::BadRequest, detail)
    }

    /// A fault of our own, told without its cause.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal, HIDDEN)
    }

    pub(super) fn with_header(mut self, name: header::HeaderName, value: &'static str) -> Self {
        self.header = Some((name, HeaderValue::from_static(value)));
        self
    }

    /// The answer, naming the request where it is known.
    pub(super) fn render(&self, request: Option<&RequestId>) -> Response {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code.as_str(),
            detail: &self.detail,
            retryable: self.code.retryable(),
            request_id: request.map(RequestId::as_str),
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = &self.header {
            headers.insert(name.clone(), value.clone());
        }
        response
    }
}

/// What is said of a fault whose cause is only in the log.
pub(super) const HIDDEN: &str =
    "a fault of the exporter itself; its log has the cause under this requestId. Try again, or report it";

impl IntoResponse for Problem {
    /// Leaves itself in the answer, so that the outermost layer can name the request.
    fn into_response(self) -> Response {
        let mut response = self.render(None);
        response.extensions_mut().insert(self);
        response
    }
}

pub(super) async fn not_found() -> Problem {
    Problem::bad(StatusCode::NOT_FOUND, "nothing is here; the GraphQL endpoint is POST /graphql")
}

/// The router adds the `Allow` header.
pub(super) async fn method_not_allowed() -> Problem {
    Problem::bad(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not answer this method; GraphQL, queries included, is asked by POST /graphql",
    )
}
