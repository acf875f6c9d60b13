//! Failures as GraphQL errors: a message for the reader, and `extensions {code, retryable, requestId}`.

use async_graphql::{Error, ErrorExtensionValues, Response, ServerError, Value};

use super::super::problem::HIDDEN;
use super::super::scope::RequestId;
use crate::error::{ErrorCode, Failure};

/// Most errors of one answer; a hostile document can make thousands.
const MOST_ERRORS: usize = 20;

/// A failure on its way out of a resolver.
pub(super) fn of(failure: Failure) -> Error {
    let mut error = Error::new(failure.message);
    let mut extensions = ErrorExtensionValues::default();
    set_code(&mut extensions, failure.code);
    error.extensions = Some(extensions);
    error
}

/// Somebody asks too much; `extensions.retryAfterSeconds` says when to ask again.
pub(super) fn rate_limited(seconds: u64) -> ServerError {
    let why = format!("too many requests at once; try again in {seconds} s");
    let mut error = of(Failure::new(ErrorCode::RateLimited, why));
    error.extensions.get_or_insert_default().set("retryAfterSeconds", seconds);
    error.into_server_error(Default::default())
}

fn set_code(extensions: &mut ErrorExtensionValues, code: ErrorCode) {
    extensions.set("code", code.as_str());
    extensions.set("retryable", code.retryable());
}

/// Gives every error its code and the request's id. What has no code was said by the GraphQL library of a document
/// that it could not read.
pub(super) fn finish(response: &mut Response, id: &RequestId) {
    response.errors.truncate(MOST_ERRORS);
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            set_code(extensions, ErrorCode::BadRequest);
        }
        let code = match extensions.get("code") {
            Some(Value::String(code)) => code.clone(),
            _ => ErrorCode::Internal.to_string(),
        };
        extensions.set("requestId", id.as_str());
        if code == ErrorCode::Internal.as_str() {
            tracing::error!(cause = %error.message, "an internal fault was hidden from the requester");
            error.message = HIDDEN.to_owned();
        }
        metrics::counter!("data_exporter_graphql_errors_total", "code" => code).increment(1);
    }
}
