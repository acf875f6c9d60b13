//! Known keys while the issuer cannot be trusted any more.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// An address whose certificate nobody trusts, and how many connections it has had.
async fn imposter() -> (String, Arc<AtomicUsize>) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/jwks", listener.local_addr().unwrap().port());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            assert!(acceptor.accept(stream).await.is_err(), "it was trusted");
        }
    });
    (url, connections)
}

#[tokio::test]
async fn known_keys_go_on_working_when_the_certificate_is_not_trusted_any_more() {
    let (url, connections) = imposter().await;
    let jwks = Arc::new(Jwks::new(&url, Duration::ZERO).unwrap());
    // As they were fetched while it could be trusted.
    let public = json!({"kty": "OKP", "crv": "Ed25519", "kid": "known",
                        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    jwks.state().keys = Arc::new(vec![usable(public).unwrap()]);
    for _ in 0..3 {
        assert!(jwks.key(Some("known"), Algorithm::EdDSA).await.is_some());
        assert!(jwks.key(Some("unknown"), Algorithm::EdDSA).await.is_none());
    }
    assert!(connections.load(Ordering::SeqCst) >= 3, "it was asked each time, in vain");
    assert!(jwks.key(Some("known"), Algorithm::RS256).await.is_none(), "and only for what they are");
}
