//! Who watches over a websocket: the same keys, roles and limits as everywhere else.

use std::time::{Duration, Instant};

use data_exporter::identity::Role;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;

use crate::subscriptions::{PROTOCOL, Socket, connect, queued, watch};
use crate::support::platform::{Platform, Service};

/// Makes a key by the command line and gives its id and secret.
async fn key(platform: &Platform) -> (String, String) {
    let arguments = ["--json", "key", "create", "--tenant", "default", "--role", "requester", "--name", "watcher"];
    let made = platform.program(&arguments).output().await.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{name} in the answer")).to_owned();
    (text("id"), text("key"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_needs_a_key_and_is_let_go_when_it_is_revoked() {
    let platform = Platform::empty("watch_keys").await;
    let job = queued(&platform).await.to_string();
    let (id, secret) = key(&platform).await;
    let service = platform.serve("api", "api", &[("EXPORTER_AUTH", "api-key")]).await;
    let bearer = format!("Bearer {secret}");

    // Nobody, and somebody with a key that is none.
    for payload in [json!({}), json!({"Authorization": "Bearer dx_wrong"})] {
        let mut socket = connect(&service, &[PROTOCOL]).await.unwrap();
        socket.say(json!({"type": "connection_init", "payload": payload})).await;
        assert!(matches!(socket.hear().await, Err(4401 | 4403)), "{payload}");
    }
    // By the header of the request, and by the payload that browsers can send.
    let mut by_header = connect(&service, &[PROTOCOL, ("authorization", &bearer)]).await.unwrap();
    by_header.say(json!({"type": "connection_init"})).await;
    let mut by_payload = connect(&service, &[PROTOCOL]).await.unwrap();
    by_payload.say(json!({"type": "connection_init", "payload": {"Authorization": bearer}})).await;
    for socket in [&mut by_header, &mut by_payload] {
        assert_eq!(socket.hear().await.unwrap()["type"], "connection_ack");
        socket.subscribe("1", &watch(&job)).await;
        let told = socket.hear().await.unwrap();
        assert_eq!(told["payload"]["data"]["requestProgress"]["state"], "QUEUED", "{told}");
    }
    let revoked = platform.program(&["key", "revoke", &id]).output().await.unwrap();
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    for socket in [&mut by_header, &mut by_payload] {
        assert!(matches!(socket.hear().await, Err(4401 | 4403)), "a revoked key watches no more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_takes_from_the_same_bucket_as_asking() {
    let platform = Platform::empty("watch_rate").await;
    let job = queued(&platform).await.to_string();
    let (_, secret) = key(&platform).await;
    let limits = [("EXPORTER_AUTH", "api-key"), ("EXPORTER_RATE_LIMIT", "1"), ("EXPORTER_RATE_BURST", "2")];
    let service = platform.serve("api", "api", &limits).await;
    let bearer = format!("Bearer {secret}");
    let mut socket = connect(&service, &[PROTOCOL, ("authorization", &bearer)]).await.unwrap();
    socket.say(json!({"type": "connection_init"})).await;
    assert_eq!(socket.hear().await.unwrap()["type"], "connection_ack");
    for n in 0..8 {
        socket.subscribe(&n.to_string(), &watch(&job)).await;
    }
    let mut limited = 0;
    for _ in 0..8 {
        let told = socket.hear().await.unwrap();
        if told["payload"][0]["extensions"]["code"] == "RATE_LIMITED" {
            limited += 1;
        }
    }
    assert!((4..=6).contains(&limited), "{limited} of 8 were over the burst of 2");
}

/// Connects with this key and introduces itself; what is said to that.
async fn introduced(service: &Service, key: &str) -> (Socket, Result<Value, (u16, String)>) {
    let bearer = format!("Bearer {key}");
    let mut socket = connect(service, &[PROTOCOL, ("authorization", &bearer)]).await.unwrap();
    socket.say(json!({"type": "connection_init"})).await;
    let said = socket.hear_why().await;
    (socket, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_identity_has_a_share_of_the_connections_and_others_have_theirs() {
    let platform = Platform::empty("watch_share").await;
    let job = queued(&platform).await.to_string();
    let (greedy, modest) =
        (platform.key("default", Role::Requester).await, platform.key("default", Role::Requester).await);
    let settings = [("EXPORTER_AUTH", "api-key"), ("EXPORTER_WEBSOCKETS_PER_IDENTITY", "3")];
    let service = platform.serve("api", "api", &settings).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let (socket, said) = introduced(&service, &greedy).await;
        assert_eq!(said.unwrap()["type"], "connection_ack");
        held.push(socket);
    }
    for _ in 0..20 {
        let (code, reason) = introduced(&service, &greedy).await.1.unwrap_err();
        assert!(code == 1013 && reason.contains("identity"), "{code} {reason}");
    }
    // The one who has its share is told all the same, and so is another of the same tenant.
    let (mut other, said) = introduced(&service, &modest).await;
    assert_eq!(said.unwrap()["type"], "connection_ack");
    for socket in [&mut held[0], &mut other] {
        socket.subscribe("1", &watch(&job)).await;
        assert_eq!(socket.hear().await.unwrap()["type"], "next");
    }
    // A place is free again soon after its connection is gone.
    held.pop();
    let since = Instant::now();
    while introduced(&service, &greedy).await.1.is_err() {
        assert!(since.elapsed() < Duration::from_secs(5), "its place was not given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_nobody_are_few_soon_let_go_and_in_nobodys_way() {
    let platform = Platform::empty("watch_nobody").await;
    let key = platform.key("default", Role::Requester).await;
    let service = platform.serve("api", "api", &[("EXPORTER_AUTH", "api-key")]).await;
    let (mut known, said) = introduced(&service, &key).await;
    assert_eq!(said.unwrap()["type"], "connection_ack");
    let mut silent = Vec::new();
    let refused = loop {
        match connect(&service, &[PROTOCOL]).await {
            Ok(socket) => silent.push(socket),
            Err(Error::Http(answer)) => break answer,
            Err(error) => panic!("{error}"),
        }
        assert!(silent.len() <= 32, "one address may hold so many and no more");
    };
    let since = Instant::now();
    assert_eq!((silent.len(), refused.status().as_u16()), (32, 503));
    let body = String::from_utf8(refused.into_body().unwrap_or_default()).unwrap();
    assert!(body.is_empty() || body.contains("TOO_MANY_REQUESTS"), "{body}");
    // Whoever is known goes on, and after their time is over others can come.
    known.say(json!({"type": "ping"})).await;
    assert_eq!(known.hear().await.unwrap(), json!({"type": "pong"}));
    for socket in &mut silent {
        assert_eq!(socket.hear().await, Err(4408));
    }
    assert!(since.elapsed() < Duration::from_secs(15), "they held their places for {:?}", since.elapsed());
    let (_socket, said) = introduced(&service, &key).await;
    assert_eq!(said.unwrap()["type"], "connection_ack");
}
