//! Who asks. An identity comes from what a request proves, never from what it says in its arguments.
//!
//! Whatever is not recognised is refused before its body is read, in one way: 401 with `UNAUTHENTICATED`.

mod jwks;
mod keys;
mod rate;
mod tokens;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use self::keys::ApiKeys;
pub(super) use self::rate::Buckets;
pub use self::rate::RateLimit;
pub use self::tokens::TokenSettings;
use self::tokens::Tokens;
use super::problem::Problem;
use crate::error::{ErrorCode, Failure};
use crate::identity::KeyStore;
pub use crate::identity::Role;
use crate::jobs::Tenant;

/// Most bytes of a key or token.
const MOST_TOKEN_BYTES: usize = 8 * 1024;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name that jobs and audits keep: `key:NAME:PREFIX`, `jwt:SUB` or `local`.
    pub subject: String,
    /// Whose jobs it sees, and whose it makes.
    pub tenant: Tenant,
    /// What it may do.
    pub roles: BTreeSet<Role>,
}

impl Identity {
    /// An identity with these roles; an administrator may also what a requester may.
    pub fn new(subject: String, tenant: Tenant, roles: impl IntoIterator<Item = Role>) -> Self {
        let mut roles: BTreeSet<Role> = roles.into_iter().collect();
        if roles.contains(&Role::Admin) {
            roles.insert(Role::Requester);
        }
        Self { subject, tenant, roles }
    }

    /// Whoever sits at this machine: the administrator `local` of tenant `default`.
    pub fn local() -> Self {
        Self::new("local".to_owned(), Tenant::default(), [Role::Admin])
    }
}

/// Finds out who asks.
#[derive(Debug, Clone)]
pub enum Authenticator {
    /// Nobody proves anything and everybody is [`Identity::local`]. Only for a service bound to loopback, and only
    /// under a loopback host name: a page of another site that points its own name at this machine is refused.
    None,
    /// Everybody shows a key or a token.
    Bearer(Bearer),
}

/// What is believed of what callers show.
#[derive(Debug, Clone)]
pub struct Bearer {
    keys: Option<Arc<ApiKeys>>,
    tokens: Option<Arc<Tokens>>,
}

impl Bearer {
    /// Believes API keys of this store, tokens of this issuer, or both.
    ///
    /// # Errors
    /// `SETTINGS_INVALID` when the issuer's keys can never be fetched.
    pub fn new(keys: Option<KeyStore>, tokens: Option<TokenSettings>) -> Result<Self, Failure> {
        let tokens = tokens.map(Tokens::new).transpose()?;
        Ok(Self { keys: keys.map(|store| Arc::new(ApiKeys::new(store))), tokens: tokens.map(Arc::new) })
    }

    async fn identity(&self, headers: &HeaderMap) -> Result<Identity, Failure> {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let Some(first) = shown.next() else {
            return Err(unknown("send an API key or a token as `Authorization: Bearer …`"));
        };
        let text = first.to_str().ok().filter(|_| shown.next().is_none());
        let token = text.and_then(|text| text.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        let Some(token) = token.map(|(_, token)| token.trim()).filter(|token| token.len() <= MOST_TOKEN_BYTES) else {
            return Err(unknown("one `Authorization: Bearer …` is read, of at most 8 KiB"));
        };
        let found = match (&self.keys, &self.tokens) {
            (Some(keys), _) if token.starts_with("dex_") => keys.identity(token).await?,
            (_, Some(tokens)) => tokens.identity(token).await,
            _ => None,
        };
        // One answer for every reason: it helps nobody who guesses.
        found.ok_or_else(|| unknown("the key or token is unknown here, or does not work any more"))
    }
}

fn unknown(detail: &str) -> Failure {
    Failure::new(ErrorCode::Unauthenticated, detail)
}

impl Authenticator {
    /// The identity behind a request's headers.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`; `METADATA_UNAVAILABLE` when a key cannot be looked up now.
    pub async fn identity(&self, headers: &HeaderMap) -> Result<Identity, Failure> {
        match self {
            Self::None if names_loopback(headers) => Ok(Identity::local()),
            Self::None => Err(Failure::new(
                ErrorCode::Unauthenticated,
                "without authentication only requests to localhost, 127.0.0.1 or [::1] are answered; \
                 use one of these names in the address",
            )),
            Self::Bearer(bearer) => bearer.identity(headers).await,
        }
    }
}

/// Whether the request was addressed to this machine by a name that cannot be anybody else's. Browsers always send
/// a host; what sends none is no browser.
fn names_loopback(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else { return true };
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    let Some(authority) = authority.filter(|_| hosts.next().is_none()) else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Puts the [`Identity`] into the request, or ends it.
pub(super) async fn identify(
    State(auth): State<Arc<Authenticator>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let shown = request.headers().contains_key(header::AUTHORIZATION);
    let identity = auth.identity(request.headers()).await.map_err(|failure| refused(failure, shown))?;
    request.extensions_mut().insert(identity);
    Ok(next.run(request).await)
}

fn refused(failure: Failure, shown: bool) -> Problem {
    let status = match failure.code {
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let problem = Problem::of(status, failure);
    match (status, shown) {
        (StatusCode::UNAUTHORIZED, true) => {
            problem.with_header(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
        }
        (StatusCode::UNAUTHORIZED, false) => problem.with_header(header::WWW_AUTHENTICATE, "Bearer"),
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_authentication_only_loopback_names_are_served() {
        for (hosts, served) in [
            (&[][..], true),
            (&["localhost"][..], true),
            (&["LOCALHOST:8080"], true),
            (&["demo.localhost:8080"], true),
            (&["127.0.0.1:8080"], true),
            (&["127.9.9.9"], true),
            (&["[::1]:8080"], true),
            (&["localhost."], true),
            (&["example.com"], false),
            (&["localhost.example.com"], false),
            (&["127.0.0.1.example.com"], false),
            (&["notlocalhost"], false),
            (&["10.0.0.1"], false),
            (&["0.0.0.0:8080"], false),
            (&["evil@127.0.0.1"], true),
            (&["127.0.0.1@example.com"], false),
            (&[""], false),
            (&["localhost", "example.com"], false),
        ] {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            let identity = Authenticator::None.identity(&headers).await;
            assert_eq!(identity.is_ok(), served, "{hosts:?}");
            match identity {
                Ok(identity) => assert_eq!(identity, Identity::local()),
                Err(failure) => assert_eq!(failure.code, ErrorCode::Unauthenticated),
            }
        }
    }
}
