//! The public keys of an issuer of tokens, fetched from its JWKS address.
//!
//! Never more than one fetch a minute, whatever tokens ask for. Keys that are known go on working while the address
//! does not answer. Only keys for signatures that cannot be made with what is public are taken.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The only signatures that are accepted.
pub(super) const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// Least time between two fetches.
pub(super) const FETCH_INTERVAL: Duration = Duration::from_secs(60);
/// Age at which keys are fetched anew although all that is asked for is known.
const REFRESHED_AFTER: Duration = Duration::from_secs(300);
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 256 * 1024;
const MOST_KEYS: usize = 100;

/// A key of the set.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

#[derive(Default)]
struct State {
    keys: Arc<Vec<Key>>,
    /// When the last fetch began.
    asked: Option<Instant>,
}

/// The keys of one issuer.
pub(super) struct Jwks {
    url: Uri,
    interval: Duration,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    state: Mutex<State>,
    /// Held while fetching: whoever needs the same waits for it.
    fetching: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").field("url", &self.url).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Jwks {
    /// # Errors
    /// When the address is none, or this machine has no certificates to trust.
    pub(super) fn new(url: &str, interval: Duration) -> Result<Self, &'static str> {
        let url = url.parse().map_err(|_| "EXPORTER_JWT_JWKS_URL cannot be read as an address")?;
        // Redirects are not followed. That plain HTTP stays on loopback, the settings see to.
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|_| "no certificates to trust were found; install ca-certificates or set SSL_CERT_FILE")?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { url, interval, client, state: Mutex::default(), fetching: Default::default() })
    }

    /// The key that a token names, fetched if need be and if it is time.
    pub(super) async fn key(self: &Arc<Self>, id: Option<&str>, algorithm: Algorithm) -> Option<Key> {
        if let Some(key) = self.known(id, algorithm) {
            if self.may_fetch(REFRESHED_AFTER.max(self.interval)) {
                let jwks = Arc::clone(self);
                tokio::spawn(async move { jwks.fetch(REFRESHED_AFTER.max(jwks.interval)).await });
            }
            return Some(key);
        }
        if !self.may_fetch(self.interval) && self.fetching.try_lock().is_ok() {
            return None;
        }
        self.fetch(self.interval).await;
        self.known(id, algorithm)
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Key> {
        let keys = Arc::clone(&self.state().keys);
        let mut fitting =
            keys.iter().filter(|key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id));
        let first = fitting.next()?;
        // A token that names no key can only mean the only one.
        (id.is_some() || fitting.next().is_none()).then(|| first.clone())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_fetch(&self, after: Duration) -> bool {
        self.state().asked.is_none_or(|asked| asked.elapsed() >= after)
    }

    async fn fetch(&self, after: Duration) {
        let _turn = self.fetching.lock().await;
        if !self.may_fetch(after) {
            return;
        }
        self.state().asked = Some(Instant::now());
        match self.download().await {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "the issuer's keys were fetched");
                self.state().keys = Arc::new(keys);
            }
            Err(reason) => tracing::warn!(reason, "the issuer's keys could not be fetched; those known go on working"),
        }
    }

    async fn download(&self) -> Result<Vec<Key>, &'static str> {
        let body = tokio::time::timeout(FETCH_TIMEOUT, async {
            let answer = self
                .client
                .get(self.url.clone())
                .await
                .map_err(|_| "EXPORTER_JWT_JWKS_URL cannot be reached, or its certificate is not trusted")?;
            if answer.status() != StatusCode::OK {
                return Err("EXPORTER_JWT_JWKS_URL answered with another status than 200");
            }
            let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
            body.map(|body| body.to_bytes()).map_err(|_| "the answer broke off, or is too large")
        });
        let body = body.await.map_err(|_| "EXPORTER_JWT_JWKS_URL did not answer in time")??;
        let set: Set = serde_json::from_slice(&body).map_err(|_| "the answer is no JWKS")?;
        let keys: Vec<Key> = set.keys.into_iter().take(MOST_KEYS).filter_map(usable).collect();
        if keys.is_empty() { Err("the answer has no key for RS256, ES256 or EdDSA") } else { Ok(keys) }
    }
}

/// A key of the set, if signatures are to be checked with it. One that is not understood is passed over.
fn usable(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(parameters) if parameters.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|said| said.to_string() != format!("{algorithm:?}")) {
        return None;
    }
    Some(Key { id: jwk.common.key_id.clone(), algorithm, decoding: DecodingKey::from_jwk(&jwk).ok()? })
}

#[cfg(test)]
mod tests;
