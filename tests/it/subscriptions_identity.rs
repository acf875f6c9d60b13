//! Who watches over a websocket: the same keys, roles and limits as everywhere else.

use serde_json::{Value, json};

use crate::subscriptions::{PROTOCOL, connect, queued, watch};
use crate::support::platform::Platform;

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
