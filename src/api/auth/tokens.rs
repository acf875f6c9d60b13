//! Tokens of an OpenID Connect issuer: JWTs with asymmetric signatures.
//!
//! What a token says counts only once its signature, issuer, audience and times hold. Why one was refused stands in
//! the log, never in the answer, and the token in neither.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;

use super::jwks::{ALGORITHMS, FETCH_INTERVAL, Jwks};
use super::{Identity, Role};
use crate::error::{ErrorCode, Failure};
use crate::identity::is_tenant_name;
use crate::jobs::Tenant;

/// What clocks may differ, in seconds.
const LEEWAY_SECONDS: u64 = 60;
/// Longest `sub`.
const LONGEST_SUBJECT: usize = 255;

/// Whose tokens are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSettings {
    /// `iss` must be this.
    pub issuer: String,
    /// `aud` must be or hold this.
    pub audience: String,
    /// Where the issuer publishes its keys.
    pub jwks_url: String,
    /// Least time between two fetches of them.
    pub fetch_interval: Duration,
}

impl TokenSettings {
    /// With the usual time between fetches, a minute.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, jwks_url: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            jwks_url: jwks_url.into(),
            fetch_interval: FETCH_INTERVAL,
        }
    }
}

/// The claims that are read. Times as numbers only, whatever else a library would take for one.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    iss: String,
    tenant: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(rename = "exp")]
    _exp: f64,
    #[serde(rename = "nbf", default)]
    _nbf: Option<f64>,
    #[serde(rename = "iat", default)]
    _iat: Option<f64>,
}

/// Proves tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    settings: TokenSettings,
    jwks: Arc<Jwks>,
}

impl Tokens {
    pub(super) fn new(settings: TokenSettings) -> Result<Self, Failure> {
        let jwks = Jwks::new(&settings.jwks_url, settings.fetch_interval)
            .map_err(|why| Failure::new(ErrorCode::SettingsInvalid, why))?;
        Ok(Self { settings, jwks: Arc::new(jwks) })
    }

    /// Whose token this is. `None` for one that does not hold, for whatever reason.
    pub(super) async fn identity(&self, token: &str) -> Option<Identity> {
        match self.verify(token).await {
            Ok(identity) => Some(identity),
            Err(reason) => {
                tracing::info!(reason, "a token was refused");
                None
            }
        }
    }

    async fn verify(&self, token: &str) -> Result<Identity, &'static str> {
        let header = decode_header(token).map_err(|_| "its header cannot be read")?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err("its algorithm is not one of RS256, ES256 and EdDSA");
        }
        if header.crit.is_some() {
            return Err("it needs an extension that is not known here");
        }
        let key = self.jwks.key(header.kid.as_deref(), header.alg).await.ok_or("its key is not known")?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = decode::<Claims>(token, &key.decoding, &validation)
            .map_err(|_| "its signature, issuer, audience, times or claims do not hold")?
            .claims;
        if claims.iss != self.settings.issuer {
            return Err("it has another issuer");
        }
        let length = claims.sub.chars().count();
        if !(1..=LONGEST_SUBJECT).contains(&length) || claims.sub.chars().any(char::is_control) {
            return Err("its sub is empty, too long or no text");
        }
        if !is_tenant_name(&claims.tenant) {
            return Err("its tenant cannot be one");
        }
        let roles = claims.roles.iter().filter_map(|name| Role::parse(name));
        Ok(Identity::new(format!("jwt:{}", claims.sub), Tenant::new(claims.tenant), roles))
    }
}
