//! API keys over HTTP and on the command line: shown once, stored as hashes, ended soon, and audited.

use std::time::{Duration, Instant};

use data_exporter::api::{RateLimit, Role};
use serde_json::{Value, json};

use crate::support::endpoint::{Endpoint, Options};
use crate::support::platform::Platform;

const TABLES: &str = "{ exportTables { name } }";

fn keys() -> Options {
    Options { keys: true, ..Options::default() }
}

#[tokio::test]
async fn a_key_works_as_it_is_and_in_no_other_way() {
    let endpoint = Endpoint::with("auth_keys", keys()).await;
    let key = endpoint.key("default", Role::Requester, None).await;
    let flipped = if key.ends_with('0') { "1" } else { "0" };
    let tampered = format!("{}{flipped}", &key[..key.len() - 1]);
    let other_prefix = format!("dex_{}{}", "0".repeat(12), &key[16..]);
    let bearer = |text: &str| format!("Bearer {text}");
    let long = "x".repeat(9_000);
    for (what, headers, expected) in [
        ("the key", vec![bearer(&key)], 200),
        ("in small letters", vec![format!("bearer {key}")], 200),
        ("nothing", vec![], 401),
        ("without Bearer", vec![key.clone()], 401),
        ("as a password", vec![format!("Basic {key}")], 401),
        ("twice", vec![bearer(&key), bearer(&key)], 401),
        ("tampered with", vec![bearer(&tampered)], 401),
        ("with another prefix", vec![bearer(&other_prefix)], 401),
        ("its prefix alone", vec![bearer(&key[..17])], 401),
        ("an injection", vec![bearer("dex_' OR true --_x")], 401),
        ("an oversized one", vec![bearer(&long)], 401),
        ("a token where none are believed", vec![bearer("a.b.c")], 401),
    ] {
        let mut request = endpoint.client.post(endpoint.url("/graphql")).header("content-type", "application/json");
        for header in &headers {
            request = request.header("authorization", header);
        }
        let response = request.body(json!({"query": TABLES}).to_string()).send().await.unwrap();
        assert_eq!(response.status(), expected, "{what}");
        if expected == 401 {
            let challenge = if headers.is_empty() { "Bearer" } else { "Bearer error=\"invalid_token\"" };
            assert_eq!(response.headers()["www-authenticate"], challenge, "{what}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            let body = response.text().await.unwrap();
            assert!(body.contains("UNAUTHENTICATED") && !body.contains(&key[17..]), "{body}");
        }
    }
    // A header too large for anybody is refused by the server itself.
    let huge = bearer(&"x".repeat(1_000_000));
    let sent = endpoint.client.post(endpoint.url("/graphql")).header("authorization", huge).send().await;
    assert!(sent.is_err() || sent.unwrap().status() == 431);
    // Only the hash is stored, and the use is noted once.
    let (row, noted): (String, bool) = loop {
        let row: (String, bool) = sqlx::query_as("SELECT api_keys::text, last_used_at IS NOT NULL FROM api_keys")
            .fetch_one(&endpoint.pool)
            .await
            .unwrap();
        if row.1 {
            break row;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(noted && !row.contains(&key[17..]));
    let first: String = sqlx::query_scalar("SELECT xmin::text FROM api_keys").fetch_one(&endpoint.pool).await.unwrap();
    for _ in 0..20 {
        assert_eq!(endpoint.ask_as(Some(&key), TABLES, json!({})).await.0, 200);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let after: String = sqlx::query_scalar("SELECT xmin::text FROM api_keys").fetch_one(&endpoint.pool).await.unwrap();
    assert_eq!(first, after, "uses within the minute write nothing");
}

#[tokio::test]
async fn keys_end_when_they_expire_and_within_five_seconds_of_being_revoked() {
    let endpoint = Endpoint::with("auth_ends", keys()).await;
    let revoked = endpoint.key("default", Role::Requester, None).await;
    let expiring = endpoint.key("default", Role::Requester, Some(1)).await;
    for key in [&revoked, &expiring] {
        assert_eq!(endpoint.ask_as(Some(key), TABLES, json!({})).await.0, 200);
    }
    // In mid-job: the job stays, its status is refused.
    let end = crate::support::issuer::now() - 86_400;
    let submit = format!("mutation {{ requestData(startTime: {}, endTime: {end}) }}", end - 60);
    let (_, answer) = endpoint.ask_as(Some(&revoked), &submit, json!({})).await;
    assert!(answer["data"]["requestData"].is_string(), "{answer}");
    let end_both = "UPDATE api_keys SET revoked_at = clock_timestamp() WHERE expires_at IS NULL;
                    UPDATE api_keys SET created_at = created_at - interval '2 days', expires_at = clock_timestamp()
                    WHERE expires_at IS NOT NULL";
    sqlx::raw_sql(end_both).execute(&endpoint.pool).await.unwrap();
    let since = Instant::now();
    for key in [&revoked, &expiring] {
        while endpoint.ask_as(Some(key), TABLES, json!({})).await.0 == 200 {
            assert!(since.elapsed() < Duration::from_secs(5), "it still works");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM export_jobs WHERE state = 'QUEUED'")
        .fetch_one(&endpoint.pool)
        .await
        .unwrap();
    assert_eq!(jobs, 1);
}

#[tokio::test]
async fn who_asks_too_much_is_told_when_to_come_back_and_others_are_served() {
    let rate = RateLimit { per_second: 1, burst: 5 };
    let endpoint = Endpoint::with("auth_rate", Options { rate, ..keys() }).await;
    let (greedy, modest) =
        (endpoint.key("default", Role::Requester, None).await, endpoint.key("default", Role::Requester, None).await);
    let mut limited = None;
    for _ in 0..20 {
        let request = endpoint.client.post(endpoint.url("/graphql")).bearer_auth(&greedy);
        let response = request.json(&json!({"query": TABLES})).send().await.unwrap();
        if let Some(after) = response.headers().get("retry-after") {
            limited = Some((after.to_str().unwrap().to_owned(), response.json::<Value>().await.unwrap()));
        }
    }
    let (after, answer) = limited.expect("a limit");
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!((extensions["code"].as_str(), extensions["retryable"].as_bool()), (Some("RATE_LIMITED"), Some(true)));
    assert_eq!(extensions["retryAfterSeconds"].to_string(), after);
    assert_eq!(after, "1");
    let (_, answer) = endpoint.ask_as(Some(&modest), TABLES, json!({})).await;
    assert!(answer["data"]["exportTables"].is_array(), "{answer}");
}

async fn run(mut command: tokio::process::Command) -> (i32, String, String) {
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_listed_and_revoked_on_the_command_line_and_administrators_see_it() {
    let platform = Platform::empty("auth_cli").await;
    let key = |arguments: &[&str]| run(platform.program(&[&["--json", "key"], arguments].concat()));
    let (code, out, err) =
        key(&["create", "--tenant", "acme", "--role", "requester", "--name", "nightly", "--expires-days", "30"]).await;
    assert_eq!(code, 0, "{err}");
    let made: Value = serde_json::from_str(&out).unwrap();
    let secret = made["key"].as_str().unwrap().to_owned();
    assert!(secret.starts_with(&format!("dex_{}_", made["prefix"].as_str().unwrap())), "{made}");
    let create = ["key", "create", "--tenant", "acme", "--role", "admin", "--name", "ops"];
    let (code, admin, note) = run(platform.program(&create)).await;
    assert!(code == 0 && note.contains("not shown again"), "{note}");
    let admin = admin.trim().to_owned();
    for wrong in [
        &["create", "--tenant", "a/b", "--role", "admin", "--name", "x"][..],
        &["create", "--tenant", "a", "--role", "owner", "--name", "x"],
        &["create", "--tenant", "a", "--role", "admin", "--name", ""],
        &["create", "--tenant", "a", "--role", "admin", "--name", "x", "--expires-days", "0"],
        &["revoke", "00000000-0000-0000-0000-000000000000"],
        &["revoke", "x"],
    ] {
        let (code, out, _) = key(wrong).await;
        assert_eq!((code, out.as_str()), (2, ""), "{wrong:?}");
    }

    let settings = [("EXPORTER_AUTH", "api-key")];
    let service = platform.serve("api", "api", &settings).await;
    let second = platform.serve("second", "api", &settings).await;
    for service in [&service, &second] {
        assert_eq!(service.ask_as(&secret, TABLES).await.0, 200);
    }
    let (code, out, _) = key(&["revoke", made["id"].as_str().unwrap()]).await;
    let since = Instant::now();
    assert_eq!((code, serde_json::from_str::<Value>(&out).unwrap()["state"].as_str()), (0, Some("revoked")));
    for service in [&service, &second] {
        while service.ask_as(&secret, TABLES).await.0 == 200 {
            assert!(since.elapsed() < Duration::from_secs(5), "it still works");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert_eq!(key(&["revoke", made["id"].as_str().unwrap()]).await.0, 0, "once more changes nothing");
    let (_, listed, _) = key(&["list"]).await;
    let states: Vec<String> = serde_json::from_str::<Vec<Value>>(&listed)
        .unwrap()
        .iter()
        .map(|key| {
            format!(
                "{} {} {}",
                key["name"].as_str().unwrap(),
                key["role"].as_str().unwrap(),
                key["state"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(states, ["nightly requester revoked", "ops admin active"]);

    // What was done is in the audit, page by page, without the secrets.
    let log = "{ auditLog(first: 2) { edges { cursor node { actor origin action target before after requestId } } pageInfo { hasNextPage endCursor } } }";
    let (_, answer) = service.ask_as(&admin, log).await;
    let page = &answer["data"]["auditLog"];
    let actions: Vec<&str> =
        page["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["key.revoke", "key.create"], "{answer}");
    assert_eq!(page["edges"][0]["node"]["before"]["state"], "active");
    assert_eq!(page["edges"][0]["node"]["after"]["state"], "revoked");
    assert_eq!(page["edges"][0]["node"]["origin"], "command line");
    let rest = format!(
        "{{ auditLog(after: \"{}\") {{ edges {{ node {{ action target }} }} pageInfo {{ hasNextPage }} }} }}",
        page["pageInfo"]["endCursor"].as_str().unwrap()
    );
    let (_, rest) = service.ask_as(&admin, &rest).await;
    assert_eq!(rest["data"]["auditLog"]["edges"], json!([{"node": {"action": "key.create", "target": made["id"]}}]));
    assert_eq!(rest["data"]["auditLog"]["pageInfo"]["hasNextPage"], false);
    for text in [listed, answer.to_string(), service.logged(), second.logged()] {
        assert!(!text.contains(&secret[17..]) && !text.contains(&admin[17..]), "a secret in {text}");
    }
    for change in ["UPDATE admin_audit SET actor = 'x'", "DELETE FROM admin_audit", "TRUNCATE admin_audit"] {
        assert!(sqlx::query(change).execute(&platform.metadata).await.is_err(), "{change}");
    }
}
