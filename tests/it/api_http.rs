//! The endpoint as HTTP: methods, types, headers, time limits, slow peers, probes, GraphiQL, shutdown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use data_exporter::api::{ConnectionLimits, serve_within};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::support::endpoint::{Endpoint, Options, problem};

const BODY: &str = r#"{"query": "{ __typename }"}"#;

#[tokio::test]
async fn only_json_is_read() {
    let endpoint = Endpoint::start("api_media").await;
    let send = |types: &[&str], encoding: Option<&str>| {
        let mut request = endpoint.client.post(endpoint.url("/graphql")).body(BODY);
        for kind in types {
            request = request.header("content-type", *kind);
        }
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        request.send()
    };
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\"",
        "application/json ; profile=x",
    ] {
        assert_eq!(send(&[kind], None).await.unwrap().status(), 200, "{kind}");
    }
    for types in [
        &[][..],
        &[""],
        &["text/plain"],
        &["application/x-www-form-urlencoded"],
        &["multipart/form-data; boundary=x"],
        &["application/graphql"],
        &["application/jsonx"],
        &["text/plain; application/json"],
        &["text/plain", "application/json"],
        &["application/json; charset=utf-16"],
        &["application/json; charset=latin1"],
    ] {
        let (status, code, _) = problem(send(types, None).await.unwrap()).await;
        assert_eq!((status, code.as_str()), (415, "BAD_REQUEST"), "{types:?}");
    }
    assert_eq!(send(&["application/json"], Some("identity")).await.unwrap().status(), 200);
    assert_eq!(send(&["application/json"], Some("gzip")).await.unwrap().status(), 415);
}

#[tokio::test]
async fn nothing_is_done_or_answered_by_get_or_any_other_method() {
    let options = Options { graphiql: false, ..Options::default() };
    let endpoint = Endpoint::with("api_methods", options).await;
    let mutation = "/graphql?query=mutation%7BrequestData(startTime:0,endTime:60)%7D";
    for (method, path, status) in [
        (Method::GET, mutation, 405),
        (Method::GET, "/graphql?query=%7B__typename%7D", 405),
        (Method::PUT, "/graphql", 405),
        (Method::DELETE, "/graphql", 405),
        (Method::OPTIONS, "/graphql", 405),
        (Method::POST, "/livez", 405),
        (Method::GET, "/graphql/assets/graphiql.js", 404),
        (Method::GET, "/graphql/ws", 400),
        (Method::POST, "/graphql/ws", 405),
        (Method::POST, "/graphql/", 404),
        (Method::GET, "/", 404),
        (Method::GET, "/%2e%2e/etc/passwd", 404),
    ] {
        let request =
            endpoint.client.request(method.clone(), endpoint.url(path)).header("content-type", "application/json");
        let response = request.body(BODY).send().await.unwrap();
        if status == 405 && path.starts_with("/graphql") && !path.ends_with("/ws") {
            assert_eq!(response.headers()["allow"], "POST", "{method}");
        }
        let (got, code, _) = problem(response).await;
        assert_eq!((got, code.as_str()), (status, "BAD_REQUEST"), "{method} {path}");
    }
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM export_jobs").fetch_one(&endpoint.pool).await.unwrap();
    assert_eq!(jobs, 0);
}

#[tokio::test]
async fn whoever_uses_another_name_for_this_machine_is_not_known() {
    let endpoint = Endpoint::start("api_hosts").await;
    let port = endpoint.address.port();
    for (host, status) in [(format!("localhost:{port}"), 200), (format!("evil.example:{port}"), 401)] {
        let request = endpoint.client.post(endpoint.url("/graphql")).header("host", host);
        // Refused before the body is looked at: it is no JSON either.
        let body = if status == 200 { BODY } else { "x" };
        let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(response.status(), status);
        if status == 401 {
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            let (_, code, detail) = problem(response).await;
            assert!(code == "UNAUTHENTICATED" && detail.contains("localhost"), "{code}: {detail}");
        }
    }
    // Probes need no identity.
    let probe = endpoint.client.get(endpoint.url("/livez")).header("host", "10.1.2.3").send().await.unwrap();
    assert_eq!(probe.status(), 200);
}

#[tokio::test]
async fn every_answer_names_its_request_and_is_closed_to_other_sites() {
    let endpoint = Endpoint::start("api_headers").await;
    for (path, method, body) in [
        ("/graphql", Method::POST, BODY),
        ("/graphql", Method::GET, ""),
        ("/livez", Method::GET, ""),
        ("/nope", Method::GET, ""),
    ] {
        let send = |id: Option<&'static str>| {
            let request =
                endpoint.client.request(method.clone(), endpoint.url(path)).header("origin", "https://evil.example");
            let request = request.header("content-type", "application/json").body(body);
            id.into_iter().fold(request, |request, id| request.header("x-request-id", id)).send()
        };
        let response = send(Some("trace-1.A_b")).await.unwrap();
        let headers = response.headers();
        assert_eq!(headers["x-request-id"], "trace-1.A_b");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cache-control"], "no-store");
        assert!(headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
        assert!(headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
        for bad in ["two words", "a,b", "<script>"] {
            let made = send(Some(bad)).await.unwrap().headers()["x-request-id"].clone();
            assert_ne!(made, bad);
            assert_ne!(made, send(None).await.unwrap().headers()["x-request-id"]);
        }
    }
    let mut preflight = endpoint.client.request(Method::OPTIONS, endpoint.url("/graphql"));
    for (name, value) in [("origin", "https://evil.example"), ("access-control-request-method", "POST")] {
        preflight = preflight.header(name, value);
    }
    let response = preflight.send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert!(response.headers().keys().all(|name| !name.as_str().starts_with("access-control-")));
    let errors = r#"{"query": "{ nope }"}"#;
    let request = endpoint.client.post(endpoint.url("/graphql")).header("content-type", "application/json");
    let answer: Value = request.header("x-request-id", "mine").body(errors).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        answer["errors"][0]["extensions"],
        json!({"code": "BAD_REQUEST", "retryable": false, "requestId": "mine"})
    );
}

#[tokio::test]
async fn readiness_asks_the_database_and_liveness_does_not() {
    let endpoint = Endpoint::start("api_probes").await;
    let get = |path: &'static str| endpoint.client.get(endpoint.url(path)).send();
    assert_eq!(get("/readyz").await.unwrap().status(), 200);
    endpoint.pool.close().await;
    assert_eq!(get("/livez").await.unwrap().status(), 200);
    let (status, code, detail) = problem(get("/readyz").await.unwrap()).await;
    assert_eq!((status, code.as_str()), (503, "METADATA_UNAVAILABLE"));
    assert_eq!(detail, "not ready: METADATA_UNAVAILABLE");
    let (code, _) = endpoint.refusal("{ exportTables { name } }", json!({})).await;
    assert_eq!(code, "METADATA_UNAVAILABLE");
    let metrics = get("/metrics").await.unwrap();
    assert_eq!(metrics.status(), 200);
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
}

#[tokio::test]
async fn a_request_ends_when_its_time_is_over() {
    let options = Options { request_timeout: Duration::from_millis(1_500), ..Options::default() };
    let endpoint = Endpoint::with("api_timeout", options).await;
    let mut lock = endpoint.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE export_tables IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let response = endpoint.post(json!({"query": "{ exportTables { name } }"}).to_string()).await;
    assert_eq!(response.status(), 504);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["data"], Value::Null);
    assert_eq!(answer["errors"][0]["extensions"]["code"], "REQUEST_TIMEOUT");
    assert_eq!(answer["errors"][0]["extensions"]["retryable"], true);
    lock.rollback().await.unwrap();
    endpoint.data("{ exportTables { name } }", json!({})).await;

    // A body that does not arrive ends as soon.
    let mut slow = TcpStream::connect(endpoint.address).await.unwrap();
    let head =
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("REQUEST_TIMEOUT"), "{answer}");
}

/// Reads until the peer closes, or resets; gives how many bytes came.
async fn read_to_end(stream: &mut TcpStream) -> usize {
    let (mut buffer, mut total) = (vec![0; 65_536], 0);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        total += read;
    }
    total
}

fn hasty() -> ConnectionLimits {
    ConnectionLimits {
        connections: 2,
        header: Duration::from_millis(400),
        stall: Duration::from_millis(400),
        drain: Duration::from_secs(5),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_dawdle_lose_their_place() {
    const BIG: usize = 64 * 1024 * 1024;
    let app = Router::new().route("/big", get(|| async { vec![0_u8; BIG] })).route("/", get(|| async { "here" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve_within(hasty(), listener, app, stop.clone()));

    for sent in ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: localhost\r\nx: "] {
        let mut dawdler = TcpStream::connect(address).await.unwrap();
        dawdler.write_all(sent.as_bytes()).await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), read_to_end(&mut dawdler)).await.expect(sent);
    }
    // It asks for much and takes nothing.
    let mut deaf = TcpStream::connect(address).await.unwrap();
    deaf.write_all(b"GET /big HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(read_to_end(&mut deaf).await < BIG);
    // Two that say nothing hold every place; the third is served when their time is over.
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let answer = reqwest::get(format!("http://{address}/")).await.unwrap().text().await.unwrap();
    assert_eq!(answer, "here");
    stop.cancel();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn shutdown_finishes_what_has_begun_and_accepts_no_more() {
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (beginning, finishing) = (Arc::clone(&begun), Arc::clone(&finish));
    let app = Router::new().route(
        "/",
        get(move || {
            let (beginning, finishing) = (Arc::clone(&beginning), Arc::clone(&finishing));
            async move {
                beginning.notify_one();
                finishing.notified().await;
                "finished"
            }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let limits = ConnectionLimits { drain: Duration::from_secs(60), ..hasty() };
    let server = tokio::spawn(serve_within(limits, listener, app, stop.clone()));
    let asked = tokio::spawn(reqwest::get(format!("http://{address}/")));
    begun.notified().await;
    stop.cancel();
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < deadline, "it still accepts");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    finish.notify_one();
    assert_eq!(asked.await.unwrap().unwrap().text().await.unwrap(), "finished");
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let app = Router::new().route("/", get(std::future::pending::<&str>));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let limits = ConnectionLimits { drain: Duration::from_millis(300), ..ConnectionLimits::default() };
    let server = tokio::spawn(serve_within(limits, listener, app, stop.clone()));
    let asked = tokio::spawn(reqwest::get(format!("http://{address}/")));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    stop.cancel();
    server.await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(asked.await.unwrap().is_err());
}

#[tokio::test]
async fn graphiql_comes_whole_from_here() {
    let endpoint = Endpoint::start("api_graphiql").await;
    let get = |path: String| endpoint.client.get(endpoint.url(&path)).send();
    let page = get("/graphql".to_owned()).await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let page = page.text().await.unwrap();
    for outside in ["http:", "https:", "//", "<style", "onload"] {
        assert!(!page.contains(outside), "{outside} in {page}");
    }
    let names: Vec<&str> = page.split(['"']).filter_map(|part| part.strip_prefix("graphql/assets/")).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    for name in names {
        let asset = get(format!("/graphql/assets/{name}")).await.unwrap();
        assert_eq!(asset.status(), 200, "{name}");
        let kind = asset.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(
            kind,
            if name.ends_with(".js") { "text/javascript; charset=utf-8" } else { "text/css; charset=utf-8" }
        );
        let packed = asset.headers().get("content-encoding").is_some();
        assert_eq!(asset.bytes().await.unwrap().starts_with(&[0x1f, 0x8b]), packed, "{name}");
    }
    assert_eq!(problem(get("/graphql/assets/nope.js".to_owned()).await.unwrap()).await.0, 404);
    endpoint.stop().await.unwrap();
}
