//! Who asks. An identity comes from what a request proves, never from what it says in its arguments.
//!
//! Whatever is not recognised is refused before its body is read, in one way: 401 with `UNAUTHENTICATED`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::Problem;
use crate::error::{ErrorCode, Failure};
use crate::jobs::Tenant;

/// What an identity may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Submits requests and reads its tenant's.
    Requester,
    /// Acts on the service itself.
    Admin,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name that jobs and audits keep.
    pub subject: String,
    /// Whose jobs it sees, and whose it makes.
    pub tenant: Tenant,
    /// What it may do.
    pub roles: BTreeSet<Role>,
}

impl Identity {
    /// Whoever sits at this machine: the administrator `local` of tenant `default`.
    pub fn local() -> Self {
        Self {
            subject: "local".to_owned(),
            tenant: Tenant::default(),
            roles: BTreeSet::from([Role::Requester, Role::Admin]),
        }
    }
}

/// Finds out who asks.
#[derive(Debug, Clone)]
pub enum Authenticator {
    /// Nobody proves anything and everybody is [`Identity::local`]. Only for a service bound to loopback, and only
    /// under a loopback host name: a page of another site that points its own name at this machine is refused.
    None,
}

impl Authenticator {
    /// Whether a service that knows its users this way may listen here.
    ///
    /// # Errors
    /// `SETTINGS_INVALID` where everybody who reaches the address would be an administrator.
    pub fn allow_bind(&self, address: SocketAddr) -> Result<(), Failure> {
        match self {
            Self::None if !address.ip().is_loopback() => Err(Failure::new(
                ErrorCode::SettingsInvalid,
                format!(
                    "EXPORTER_AUTH=none makes everybody an administrator, so it is refused on {address}; \
                     bind to loopback (EXPORTER_BIND=127.0.0.1:{})",
                    address.port()
                ),
            )),
            Self::None => Ok(()),
        }
    }

    /// The identity behind a request's headers.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`.
    pub async fn identity(&self, headers: &HeaderMap) -> Result<Identity, Failure> {
        match self {
            Self::None if names_loopback(headers) => Ok(Identity::local()),
            Self::None => Err(Failure::new(
                ErrorCode::Unauthenticated,
                "without authentication only requests to localhost, 127.0.0.1 or [::1] are answered; \
                 use one of these names in the address",
            )),
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
    let identity = auth.identity(request.headers()).await.map_err(refused)?;
    request.extensions_mut().insert(identity);
    Ok(next.run(request).await)
}

fn refused(failure: Failure) -> Problem {
    let status = match failure.code {
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let problem = Problem::of(status, failure);
    if status == StatusCode::UNAUTHORIZED { problem.with_header(header::WWW_AUTHENTICATE, "Bearer") } else { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_authentication_only_loopback_is_listened_on() {
        for (address, allowed) in [
            ("127.0.0.1:8080", true),
            ("127.1.2.3:8080", true),
            ("[::1]:8080", true),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("10.0.0.1:8080", false),
            ("[::ffff:10.0.0.1]:8080", false),
        ] {
            let allow = Authenticator::None.allow_bind(address.parse().unwrap());
            assert_eq!(
                allow.map_err(|failure| failure.code),
                if allowed { Ok(()) } else { Err(ErrorCode::SettingsInvalid) }
            );
        }
    }

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
