//! Whether the process lives, whether it can work, and what it has counted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use super::problem::Problem;
use crate::error::{ErrorCode, Failure};
use crate::jobs::Requests;

/// How long `/readyz` waits for what it asks.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// What must work before requests are sent to this process.
#[async_trait]
pub trait Readiness: Send + Sync + fmt::Debug {
    /// Asks everything that is needed.
    ///
    /// # Errors
    /// The first that does not work. Its code is shown to anybody; its message is not.
    async fn check(&self) -> Result<(), Failure>;
}

/// Ready while the metadata database answers.
#[derive(Debug)]
pub struct RequestsReady(pub Requests);

#[async_trait]
impl Readiness for RequestsReady {
    async fn check(&self) -> Result<(), Failure> {
        self.0.ping().await
    }
}

/// The process runs and answers. Asks nothing of anybody: a database that is away is no reason to restart it.
pub(super) async fn livez() -> Response {
    Json(json!({"status": "alive"})).into_response()
}

pub(super) async fn readyz(State(ready): State<Arc<dyn Readiness>>) -> Result<Response, Problem> {
    let code = match tokio::time::timeout(PROBE_TIMEOUT, ready.check()).await {
        Ok(Ok(())) => return Ok(Json(json!({"status": "ready"})).into_response()),
        Ok(Err(failure)) => failure.code,
        Err(_) => ErrorCode::MetadataUnavailable,
    };
    // Probes need no credentials, so they learn the code and no more.
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, format!("not ready: {code}")))
}

pub(super) async fn metrics(State(handle): State<PrometheusHandle>) -> Response {
    let mut response = handle.render().into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}
