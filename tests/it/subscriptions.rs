//! `requestProgress` over a websocket with the real program: what is told, when it ends, and what a connection may do.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sqlx::postgres::PgPool;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

use crate::support::metadata;
use crate::support::platform::{Platform, Service};

/// A connection to `/graphql/ws`.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

pub(crate) async fn connect(service: &Service, headers: &[(&'static str, &str)]) -> Result<Socket, Error> {
    let mut request = format!("ws://{}/graphql/ws", service.address).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    connect_async(request).await.map(|(socket, _)| Socket(socket))
}

pub(crate) const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");

impl Socket {
    pub(crate) async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({"type": "subscribe", "id": id, "payload": {"query": query}})).await;
    }

    /// The next message, or the code that the connection was closed with.
    pub(crate) async fn hear(&mut self) -> Result<Value, u16> {
        self.hear_why().await.map_err(|(code, _)| code)
    }

    /// The next message, or the code that the connection was closed with, and the reason.
    pub(crate) async fn hear_why(&mut self) -> Result<Value, (u16, String)> {
        loop {
            match timeout(Duration::from_secs(20), self.0.next()).await.expect("it is silent") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or((0, String::new()), |frame| (frame.code.into(), frame.reason.to_string())));
                }
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Err((0, String::new())),
            }
        }
    }

    /// Connected and greeted.
    pub(crate) async fn ready(service: &Service) -> Self {
        let mut socket = connect(service, &[PROTOCOL]).await.unwrap();
        socket.say(json!({"type": "connection_init"})).await;
        assert_eq!(socket.hear().await.unwrap()["type"], "connection_ack");
        socket
    }
}

pub(crate) fn watch(id: &str) -> String {
    format!(
        "subscription {{ requestProgress(requestId: \"{id}\") {{ state status progress dataRequestDownloadLinks }} }}"
    )
}

async fn set(pool: &PgPool, id: Uuid, assignments: &str) {
    let sql = format!("UPDATE export_jobs SET {assignments} WHERE id = '{id}'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

pub(crate) async fn queued(platform: &Platform) -> Uuid {
    let at = "2026-11-18T13:00:00Z".parse().unwrap();
    metadata::job(&platform.metadata, "default", "QUEUED", at).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_is_told_what_changes_and_then_of_the_end() {
    let platform = Platform::empty("watch_end").await;
    let service = platform.serve("api", "api", &[]).await;
    let id = queued(&platform).await;
    let mut socket = Socket::ready(&service).await;
    let mut other = Socket::ready(&service).await;
    for (socket, name) in [(&mut socket, "one"), (&mut other, "two")] {
        socket.subscribe(name, &watch(&id.to_string())).await;
        let first = socket.hear().await.unwrap();
        assert_eq!((&first["type"], &first["id"]), (&json!("next"), &json!(name)), "{first}");
        let status = &first["payload"]["data"]["requestProgress"];
        assert_eq!((&status["state"], &status["progress"]), (&json!("QUEUED"), &json!(0.0)), "{first}");
    }
    // Nothing is said while nothing changes.
    assert!(timeout(Duration::from_millis(1_500), socket.0.next()).await.is_err());
    set(&platform.metadata, id, "state = 'RUNNING', slot = 0, started_at = clock_timestamp()").await;
    for socket in [&mut socket, &mut other] {
        let next = socket.hear().await.unwrap();
        assert_eq!(next["payload"]["data"]["requestProgress"]["state"], "RUNNING");
    }
    metadata::table(&platform.metadata, id, "way", "COMPLETED", &[("dev/way_000.parquet", 1, 1)]).await;
    set(&platform.metadata, id, "state = 'COMPLETED', slot = NULL, completed_at = clock_timestamp()").await;
    for (socket, name) in [(&mut socket, "one"), (&mut other, "two")] {
        let mut next = socket.hear().await.unwrap();
        if next["payload"]["data"]["requestProgress"]["state"] == "RUNNING" {
            // The table was seen before the end.
            next = socket.hear().await.unwrap();
        }
        let status = &next["payload"]["data"]["requestProgress"];
        assert_eq!((&status["status"], &status["progress"]), (&json!("Completed"), &json!(100.0)), "{next}");
        assert_eq!(status["dataRequestDownloadLinks"]["way"].as_array().unwrap().len(), 1);
        assert_eq!(socket.hear().await.unwrap(), json!({"type": "complete", "id": name}));
    }
    let written: i64 = sqlx::query_scalar("SELECT count(*) FROM export_download_audits WHERE action = 'handed_out'")
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
    assert!(written >= 1, "links over a websocket are handed out as any others");
    // What has ended is told once, and a name is free again.
    socket.subscribe("one", &watch(&id.to_string())).await;
    assert_eq!(socket.hear().await.unwrap()["payload"]["data"]["requestProgress"]["status"], "Completed");
    assert_eq!(socket.hear().await.unwrap()["type"], "complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_tenants_is_told_once_and_alike() {
    let platform = Platform::empty("watch_unknown").await;
    let service = platform.serve("api", "api", &[]).await;
    let at = "2026-11-18T13:00:00Z".parse().unwrap();
    let foreign = metadata::job(&platform.metadata, "other", "RUNNING", at).await.to_string();
    let mut socket = Socket::ready(&service).await;
    for id in [foreign, Uuid::now_v7().to_string(), "nonsense".to_owned(), String::new()] {
        socket.subscribe("1", &watch(&id)).await;
        let status = json!({"state": null, "status": "Request has not been requested", "progress": 0.0, "dataRequestDownloadLinks": null});
        let expected = json!({"type": "next", "id": "1", "payload": {"data": {"requestProgress": status}}});
        assert_eq!(socket.hear().await.unwrap(), expected, "{id}");
        assert_eq!(socket.hear().await.unwrap(), json!({"type": "complete", "id": "1"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_keeps_to_the_protocol_and_to_its_limits() {
    let platform = Platform::empty("watch_limits").await;
    let service = platform.serve("api", "api", &[]).await;
    let id = queued(&platform).await.to_string();
    // At the handshake.
    let own = format!("http://{}", service.address);
    for (headers, status) in [
        (vec![PROTOCOL, ("origin", own.as_str())], 101),
        (vec![PROTOCOL, ("origin", "http://evil.example")], 403),
        (vec![PROTOCOL, ("origin", "null")], 403),
        (vec![], 400),
        (vec![("sec-websocket-protocol", "graphql-ws")], 400),
    ] {
        match connect(&service, &headers).await {
            Ok(_) => assert_eq!(status, 101, "{headers:?}"),
            Err(Error::Http(answer)) => assert_eq!(answer.status().as_u16(), status, "{headers:?}"),
            Err(error) => panic!("{headers:?}: {error}"),
        }
    }
    assert_eq!(reqwest::get(service.url("/graphql/ws")).await.unwrap().status(), 400);

    // Before and after the greeting.
    let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": watch(&id)}}).to_string();
    let init = json!({"type": "connection_init"}).to_string();
    let large = json!({"type": "ping", "payload": {"a": "x".repeat(70_000)}}).to_string();
    for (messages, code) in [
        (vec![subscribe.as_str()], 4401),
        (vec![&init, &init], 4429),
        (vec![&init, "{}"], 4400),
        (vec!["not JSON"], 4400),
        (vec![&init, r#"{"type":"start","id":"1"}"#], 4400),
        (vec![&init, &subscribe, &subscribe], 4409),
        (vec![&init, &large], 1009),
    ] {
        let mut socket = connect(&service, &[PROTOCOL]).await.unwrap();
        for message in &messages {
            socket.0.send(Message::text(*message)).await.unwrap();
        }
        let closed = loop {
            if let Err(code) = socket.hear().await {
                break code;
            }
        };
        assert_eq!(closed, code, "{}", messages.last().unwrap().chars().take(60).collect::<String>());
    }
    // Under a name that is not this machine's nobody is anybody.
    let mut socket = connect(&service, &[PROTOCOL, ("host", "rebound.example")]).await.unwrap();
    socket.say(json!({"type": "connection_init"})).await;
    assert_eq!(socket.hear().await, Err(4401));

    // Documents: the same guard as over HTTP, and subscriptions only.
    let mut socket = Socket::ready(&service).await;
    let deep = format!("subscription {}{}", "{ a ".repeat(60), "}".repeat(60));
    for query in [
        "{ exportTables { name } }",
        "mutation { requestStatus(requestId: \"1\") { status } }",
        "subscription {",
        &deep,
        "subscription { nonsense }",
    ] {
        socket.subscribe("bad", query).await;
        let answer = socket.hear().await.unwrap();
        assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!("bad")), "{query}: {answer}");
        assert_eq!(answer["payload"][0]["extensions"]["code"], "BAD_REQUEST", "{answer}");
        assert!(answer["payload"][0]["extensions"]["requestId"].is_string());
    }
    // Over HTTP a subscription is no operation.
    assert_eq!(service.ask(&watch(&id)).await["errors"][0]["extensions"]["code"], "BAD_REQUEST");

    for number in 0..16 {
        socket.subscribe(&number.to_string(), &watch(&id)).await;
        assert_eq!(socket.hear().await.unwrap()["type"], "next");
    }
    socket.subscribe("16", &watch(&id)).await;
    let answer = socket.hear().await.unwrap();
    assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!("16")));
    assert_eq!(answer["payload"][0]["extensions"]["code"], "TOO_MANY_REQUESTS");
    socket.say(json!({"type": "complete", "id": "3"})).await;
    socket.subscribe("16", &watch(&id)).await;
    assert_eq!(socket.hear().await.unwrap()["type"], "next");
    socket.say(json!({"type": "ping"})).await;
    assert_eq!(socket.hear().await.unwrap(), json!({"type": "pong"}));

    // Who says nothing is not waited for.
    let mut silent = connect(&service, &[PROTOCOL]).await.unwrap();
    assert_eq!(silent.hear().await, Err(4408));
}

/// Resident memory of a process, in KiB.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_let_go_and_holds_no_memory() {
    let platform = Platform::empty("watch_slow").await;
    let mut service = platform.serve("api", "api", &[]).await;
    let id = queued(&platform).await;
    for number in 0..200 {
        let name = format!("table_{number}_{}", "x".repeat(200));
        metadata::table(&platform.metadata, id, &name, "SKIPPED", &[]).await;
    }
    let fields = "name status progress rows bytes error { code message }";
    let query =
        format!("subscription {{ requestProgress(requestId: \"{id}\") {{ startedAt tables {{ {fields} }} }} }}");
    let mut slow = Socket::ready(&service).await;
    for number in 0..16 {
        slow.subscribe(&number.to_string(), &query).await;
    }
    let mut quick = Socket::ready(&service).await;
    quick.subscribe("1", &query).await;
    assert_eq!(quick.hear().await.unwrap()["type"], "next");
    let before = memory(service.child.id().unwrap());
    let mut most = before;
    let mut let_go = false;
    for _ in 0..120 {
        set(&platform.metadata, id, "started_at = clock_timestamp()").await;
        // The one who reads is told all the while.
        assert_eq!(quick.hear().await.unwrap()["type"], "next");
        most = most.max(memory(service.child.id().unwrap()));
        let metrics = reqwest::get(service.url("/metrics")).await.unwrap().text().await.unwrap();
        if metrics.contains("data_exporter_websockets_too_slow_total 1") {
            let_go = true;
            break;
        }
    }
    assert!(let_go, "it was never given up");
    assert!(most - before < 10 * 1024, "memory grew from {before} to {most} KiB");
    drop(slow);

    // A service that stops says so, and does not wait.
    let process = i32::try_from(service.child.id().unwrap()).unwrap();
    assert!(std::process::Command::new("kill").args(["-TERM", &process.to_string()]).status().unwrap().success());
    let closed = loop {
        if let Err(code) = quick.hear().await {
            break code;
        }
    };
    assert_eq!(closed, 1001);
    let ended = timeout(Duration::from_secs(8), service.child.wait()).await.expect("it ends in time").unwrap();
    assert_eq!(ended.code(), Some(0), "{}", service.logged());
}
