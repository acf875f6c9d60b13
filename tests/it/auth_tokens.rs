//! Tokens over HTTP: which are believed, and that nothing makes the service ask the issuer often.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::support::endpoint::{Endpoint, Options};
use crate::support::issuer::{Issuer, Signer, claims, encode, now};

const WHO: &str = "{ exportTables { name } }";
const HOUR: Duration = Duration::from_secs(3_600);

async fn endpoint(name: &str, issuer: &Issuer, interval: Duration) -> Endpoint {
    Endpoint::with(name, Options { tokens: Some(issuer.settings(interval)), ..Options::default() }).await
}

/// The status that a token gets.
async fn status(endpoint: &Endpoint, token: &str) -> u16 {
    endpoint.ask_as(Some(token), WHO, json!({})).await.0
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims("default", &["requester"]);
    change(&mut claims);
    claims
}

#[tokio::test]
async fn tokens_are_believed_by_their_signature_issuer_audience_and_times() {
    let (rsa, ec, ed, stranger) = (Signer::rsa(), Signer::ec(), Signer::ed(), Signer::rsa());
    let rsa_jwk = rsa.jwk("rsa");
    let shared = json!({"kty": "oct", "k": encode("a secret that everybody has"), "kid": "oct", "alg": "HS256"});
    let strange = json!({"kty": "PQ", "kid": "strange"});
    let encrypts = {
        let mut jwk = rsa.jwk("encrypts");
        jwk["use"] = "enc".into();
        jwk
    };
    let keys = vec![strange, shared, rsa_jwk.clone(), ec.jwk("ec"), ed.jwk("ed"), encrypts];
    let issuer = Issuer::start(keys).await;
    let endpoint = endpoint("auth_tokens", &issuer, HOUR).await;
    let hs256 = |key: &[u8], kid: &str| {
        let text =
            format!("{}.{}", encode(json!({"alg": "HS256", "kid": kid}).to_string()), encode(with(|_| {}).to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
        format!("{text}.{}", encode(tag.as_ref()))
    };
    let modulus = rsa_jwk["n"].as_str().unwrap().to_owned();
    let unsigned = |algorithm: &str| {
        format!("{}.{}.", encode(json!({"alg": algorithm, "kid": "rsa"}).to_string()), encode(with(|_| {}).to_string()))
    };
    let good = rsa.token("rsa", &with(|_| {}));
    let payload_of_another = {
        let other = rsa.token("rsa", &with(|claims| claims["tenant"] = "acme".into()));
        let parts: Vec<&str> = good.split('.').collect();
        format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2])
    };
    let rsa_token = |change: fn(&mut Value)| rsa.token("rsa", &with(change));
    for (what, token, accepted) in [
        ("RS256", good.clone(), true),
        ("ES256", ec.token("ec", &with(|_| {})), true),
        ("EdDSA", ed.token("ed", &with(|_| {})), true),
        ("without a key id where one key fits", ec.sign(&json!({"alg": "ES256"}), &with(|_| {})), true),
        ("one audience of several", rsa_token(|claims| claims["aud"] = json!(["x", "data-exporter"])), true),
        ("expired within the leeway", rsa_token(|claims| claims["exp"] = (now() - 30).into()), true),
        ("valid soon, within the leeway", rsa_token(|claims| claims["nbf"] = (now() + 30).into()), true),
        (
            "roles that are not known here beside one",
            rsa_token(|claims| claims["roles"] = json!(["requester", "x"])),
            true,
        ),
        ("alg none", unsigned("none"), false),
        ("alg None", unsigned("None"), false),
        ("alg RS256 without a signature", unsigned("RS256"), false),
        ("no alg", rsa.sign(&json!({"kid": "rsa"}), &with(|_| {})), false),
        ("HS256 with the public modulus", hs256(modulus.as_bytes(), "rsa"), false),
        ("HS256 with the public key's document", hs256(rsa_jwk.to_string().as_bytes(), "rsa"), false),
        ("HS256 with a published secret", hs256(b"a secret that everybody has", "oct"), false),
        ("RS512, which is not on the list", rsa.sign(&json!({"alg": "RS512", "kid": "rsa"}), &with(|_| {})), false),
        ("a key for encryption", rsa.token("encrypts", &with(|_| {})), false),
        ("a stranger's key under a known id", stranger.token("rsa", &with(|_| {})), false),
        ("another key's id", rsa.token("ec", &with(|_| {})), false),
        (
            "an extension that must be understood",
            rsa.sign(&json!({"alg": "RS256", "kid": "rsa", "crit": ["x"], "x": 1}), &with(|_| {})),
            false,
        ),
        ("a payload of another token", payload_of_another, false),
        ("wrong issuer", rsa_token(|claims| claims["iss"] = "https://issuer.example.evil".into()), false),
        ("several issuers", rsa_token(|claims| claims["iss"] = json!(["https://issuer.example", "x"])), false),
        ("no issuer", rsa_token(|claims| claims["iss"] = Value::Null), false),
        ("wrong audience", rsa_token(|claims| claims["aud"] = "other".into()), false),
        ("no audience", rsa_token(|claims| claims["aud"] = Value::Null), false),
        ("expired", rsa_token(|claims| claims["exp"] = (now() - 90).into()), false),
        ("no end", rsa_token(|claims| claims["exp"] = Value::Null), false),
        ("an end as text", rsa_token(|claims| claims["exp"] = (now() + 300).to_string().into()), false),
        ("an end as a list", rsa_token(|claims| claims["exp"] = json!([now() + 300])), false),
        ("an end before time", rsa_token(|claims| claims["exp"] = json!(-1)), false),
        ("not valid yet", rsa_token(|claims| claims["nbf"] = (now() + 90).into()), false),
        ("not valid yet, as text", rsa_token(|claims| claims["nbf"] = (now() - 90).to_string().into()), false),
        ("no subject", rsa_token(|claims| claims["sub"] = Value::Null), false),
        ("an empty subject", rsa_token(|claims| claims["sub"] = "".into()), false),
        ("no tenant", rsa_token(|claims| claims["tenant"] = Value::Null), false),
        ("a tenant that climbs", rsa_token(|claims| claims["tenant"] = "../default".into()), false),
        ("roles as text", rsa_token(|claims| claims["roles"] = "admin".into()), false),
        ("two parts", good.rsplit_once('.').unwrap().0.to_owned(), false),
        ("four parts", format!("{good}.x"), false),
        ("nothing", String::new(), false),
        ("too long", rsa.token("rsa", &with(|claims| claims["x"] = "x".repeat(9_000).into())), false),
        ("an API key where none are believed", format!("dex_{}_{}", "0".repeat(12), "0".repeat(64)), false),
    ] {
        assert_eq!(status(&endpoint, &token).await, if accepted { 200 } else { 401 }, "{what}");
    }
    // What stands in a token counts: its tenant, its subject, its roles.
    let nobody = rsa.token("rsa", &claims("default", &[]));
    let (_, answer) = endpoint.ask_as(Some(&nobody), WHO, json!({})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
    let end = now() - 86_400;
    let submit = format!("mutation {{ requestData(startTime: {}, endTime: {end}) }}", end - 60);
    let (_, answer) = endpoint.ask_as(Some(&good), &submit, json!({})).await;
    assert!(answer["data"]["requestData"].is_string(), "{answer}");
    let (tenant, by): (String, String) =
        sqlx::query_as("SELECT tenant, requested_by FROM export_jobs").fetch_one(&endpoint.pool).await.unwrap();
    assert_eq!((tenant.as_str(), by.as_str()), ("default", "jwt:alice"));
    assert_eq!(issuer.fetched(), 1, "one fetch was enough for all of them");
}

#[tokio::test]
async fn unknown_key_ids_by_the_thousand_cause_one_fetch() {
    let (known, stranger) = (Signer::ed(), Signer::ed());
    let issuer = Issuer::start(vec![known.jwk("known")]).await;
    let endpoint = endpoint("auth_floods", &issuer, HOUR).await;
    assert_eq!(status(&endpoint, &known.token("known", &with(|_| {}))).await, 200);
    let tokens: Vec<String> = (0..2_000).map(|n| stranger.token(&format!("k{n}"), &with(|_| {}))).collect();
    for some in tokens.chunks(50) {
        let asked = some.iter().map(|token| status(&endpoint, token));
        assert!(futures::future::join_all(asked).await.into_iter().all(|status| status == 401));
    }
    assert_eq!(issuer.fetched(), 1);
    assert_eq!(status(&endpoint, &known.token("known", &with(|_| {}))).await, 200);
}

#[tokio::test]
async fn keys_rotate_and_known_ones_work_while_the_issuer_is_away() {
    let (old, new) = (Signer::ed(), Signer::ed());
    let issuer = Issuer::start(vec![old.jwk("old")]).await;
    let interval = Duration::from_millis(300);
    let endpoint = endpoint("auth_rotation", &issuer, interval).await;
    let (old_token, new_token) = (old.token("old", &with(|_| {})), new.token("new", &with(|_| {})));
    assert_eq!(status(&endpoint, &old_token).await, 200);

    issuer.away.store(true, Ordering::SeqCst);
    tokio::time::sleep(interval).await;
    assert_eq!(status(&endpoint, &new_token).await, 401);
    assert_eq!(issuer.fetched(), 2, "it was asked, in vain");
    assert_eq!(status(&endpoint, &old_token).await, 200, "known keys go on working");

    issuer.publish(vec![new.jwk("new")]);
    issuer.away.store(false, Ordering::SeqCst);
    tokio::time::sleep(interval).await;
    assert_eq!(status(&endpoint, &new_token).await, 200);
    assert_eq!(status(&endpoint, &old_token).await, 401, "a key that is withdrawn ends");
}
