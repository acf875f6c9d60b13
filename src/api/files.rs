//! `GET /v1/files/{token}`: a link of our own. It is checked, written to the audit, and only then answered, with a
//! redirect to a link of the object store that works for minutes. The bytes of a file never pass through here.
//!
//! The link is its own proof, so nobody needs a key to follow one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::visitor::visitor;
use crate::error::{ErrorCode, Failure};
use crate::links::{Found, Link, LinkBook, REDIRECT_LIFE, Visitor};
use crate::storage::{ObjectKey, ObjectStore};

/// What following links needs.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) book: LinkBook,
    pub(super) store: Arc<dyn ObjectStore>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

pub(super) async fn follow(
    State(files): State<Files>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let visitor = visitor(&parts);
    let answered = files.answer(&token, &visitor).await;
    let result = match &answered {
        Ok(_) => "redirected",
        Err(problem) => problem.code().as_str(),
    };
    metrics::counter!("data_exporter_links_followed_total", "result" => result).increment(1);
    answered
}

impl Files {
    async fn answer(&self, token: &str, visitor: &Visitor) -> Result<Response, Problem> {
        let link = match self.book.find(token).await.map_err(unavailable)? {
            Found::Valid(link) => link,
            other => return self.refuse(other, visitor).await,
        };
        let key = ObjectKey::new(link.object_key.as_str()).map_err(|error| unavailable(error.into()))?;
        // Never longer than the link itself, or a download could begin after its end.
        let life = link.life().clamp(Duration::from_secs(1), REDIRECT_LIFE);
        let signed = self.store.presign_get(&key, life).await.map_err(|error| unavailable(error.into()))?;
        let location = HeaderValue::from_str(&signed.url).map_err(|_| Problem::internal())?;
        if !self.book.redirected(&link, visitor).await.map_err(unavailable)? {
            // It ended while its target was signed.
            let ended = self.book.find(token).await.map_err(unavailable)?;
            return self.refuse(ended, visitor).await;
        }
        let mut response = StatusCode::FOUND.into_response();
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, location);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        Ok(response)
    }

    async fn refuse(&self, found: Found, visitor: &Visitor) -> Result<Response, Problem> {
        let (link, status, code, detail): (Link, _, _, _) = match found {
            Found::Expired(link) => (
                link,
                StatusCode::GONE,
                ErrorCode::LinkExpired,
                "this link has ended, or its file was deleted; ask requestStatus for a new one",
            ),
            Found::Revoked(link) => (
                link,
                StatusCode::GONE,
                ErrorCode::LinkRevoked,
                "an administrator has revoked this link; ask requestStatus for a new one",
            ),
            Found::Unknown | Found::Valid(_) => {
                return Err(Problem::new(
                    StatusCode::NOT_FOUND,
                    ErrorCode::NotFound,
                    "there is no such link; it must be used exactly as it was given",
                ));
            }
        };
        self.book.refused(&link, code.as_str(), visitor).await.map_err(unavailable)?;
        Err(Problem::new(status, code, detail))
    }
}

/// What stands in the way is ours, and may pass.
fn unavailable(failure: Failure) -> Problem {
    if failure.code == ErrorCode::Internal {
        tracing::error!(cause = %failure.message, "a link could not be followed");
        return Problem::internal();
    }
    tracing::warn!(code = %failure.code, "a link could not be followed");
    Problem::of(StatusCode::SERVICE_UNAVAILABLE, failure)
}
