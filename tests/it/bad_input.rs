//! Input that is too large, too slow, too much or too late, where no other file of the tests has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use data_exporter::api::{ConnectionLimits, Role, serve_within};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::endpoint::{Endpoint, Options};
use crate::support::issuer::{Issuer, Signer, claims};
use crate::support::platform::{Platform, day_range};

const TABLES: &str = "{ exportTables { name } }";

/// Sends these bytes and gives the status of the answer; `None` if the connection is closed without one.
async fn status(endpoint: &Endpoint, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(endpoint.address).await.unwrap();
    // Who is refused early may not be able to send the rest.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("an end");
    std::str::from_utf8(&answer).unwrap().strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[tokio::test]
async fn headers_are_bounded_in_size_and_number() {
    let endpoint = Endpoint::start("bad_headers").await;
    let body = json!({"query": TABLES}).to_string();
    let request = |path: &str, headers: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n{headers}\r\n{body}",
            body.len()
        )
    };
    let large = |bytes: usize| format!("x-large: {}\r\n", "x".repeat(bytes));
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    for (what, bytes, allowed) in [
        ("none beside what is needed", request("/graphql", ""), [Some(200), Some(200)]),
        ("a large one", request("/graphql", &large(50_000)), [Some(200), Some(200)]),
        ("one that is too large", request("/graphql", &large(140_000)), [Some(431), None]),
        ("one that is much too large", request("/graphql", &large(5_000_000)), [Some(431), None]),
        ("many", request("/graphql", &many(80)), [Some(200), Some(200)]),
        ("too many", request("/graphql", &many(500)), [Some(431), None]),
        (
            "a long token",
            request("/graphql", &format!("authorization: Bearer {}\r\n", "x".repeat(50_000))),
            [Some(200); 2],
        ),
        ("a long path", request(&format!("/{}", "x".repeat(70_000)), ""), [Some(414), Some(431)]),
        ("a long query", request(&format!("/graphql?{}", "x".repeat(50_000)), ""), [Some(200), Some(200)]),
        ("two lengths", request("/graphql", "content-length: 3\r\n"), [Some(400), None]),
        ("a length that is none", request("/graphql", "transfer-encoding: chunked, x\r\n"), [Some(400), None]),
        ("a name with a blank", request("/graphql", "x y: 1\r\n"), [Some(400), None]),
        ("no HTTP", "\x16\x03\x01\x02\x00\r\n\r\n".to_owned(), [Some(400), None]),
    ] {
        let got = status(&endpoint, bytes.as_bytes()).await;
        assert!(allowed.contains(&got), "{what}: {got:?}");
        assert_eq!(status(&endpoint, request("/graphql", "").as_bytes()).await, Some(200), "after {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_hangs_holds_up_nobody_whose_key_is_known() {
    let known = Signer::ed();
    let issuer = Issuer::start(vec![known.jwk("known")]).await;
    let interval = Duration::from_millis(100);
    let options = Options { keys: true, tokens: Some(issuer.settings(interval)), ..Options::default() };
    let endpoint = Arc::new(Endpoint::with("bad_issuer", options).await);
    let token = known.token("known", &claims("default", &["requester"]));
    let key = endpoint.key("default", Role::Requester, None).await;
    assert_eq!(endpoint.ask_as(Some(&token), TABLES, json!({})).await.0, 200);
    issuer.hangs.store(true, Ordering::SeqCst);
    tokio::time::sleep(interval).await;
    let strange = Signer::ed().token("strange", &claims("default", &["requester"]));
    let waiting = {
        let endpoint = Arc::clone(&endpoint);
        tokio::spawn(async move { endpoint.ask_as(Some(&strange), TABLES, json!({})).await.0 })
    };
    while issuer.fetched() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for bearer in [&token, &key, &token] {
        assert_eq!(endpoint.ask_as(Some(bearer), TABLES, json!({})).await.0, 200);
    }
    assert!(!waiting.is_finished(), "the stranger's key is still being asked for");
    assert_eq!(waiting.await.unwrap(), 401);
    assert_eq!(endpoint.ask_as(Some(&token), TABLES, json!({})).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_when_its_key_is_revoked_and_others_of_the_tenant_see_it() {
    let platform = Platform::sample("bad_revoked", 2_000).await;
    let (mine, other) =
        (platform.key("default", Role::Requester).await, platform.key("default", Role::Requester).await);
    let api = platform.serve("api", "api", &[("EXPORTER_AUTH", "api-key")]).await;
    let (start, end) = day_range();
    let submit = format!("mutation {{ requestData(startTime: {start}, endTime: {end}, tables: [\"way\"]) }}");
    let id = api.ask_as(&mine, &submit).await.1["data"]["requestData"].as_str().unwrap().to_owned();
    sqlx::query("UPDATE api_keys SET revoked_at = clock_timestamp() WHERE prefix = $1")
        .bind(&mine[4..16])
        .execute(&platform.metadata)
        .await
        .unwrap();
    let ask = format!("{{ request(requestId: \"{id}\") {{ status tables {{ rows }} }} }}");
    let since = Instant::now();
    while api.ask_as(&mine, &ask).await.0 != 401 {
        assert!(since.elapsed() < Duration::from_secs(5), "it still works");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Nobody has worked on it so far.
    assert_eq!(api.ask_as(&other, &ask).await.1["data"]["request"]["status"], "In Progress");
    let _worker = platform.serve("worker", "worker", &[]).await;
    let since = Instant::now();
    loop {
        let (_, answer) = api.ask_as(&other, &ask).await;
        let request = &answer["data"]["request"];
        if request["status"] == "Completed" {
            assert!(request["tables"][0]["rows"].as_i64().unwrap() > 0, "{request}");
            break;
        }
        assert!(request["status"] == "In Progress" && since.elapsed() < Duration::from_secs(90), "{request}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(api.ask_as(&mine, &ask).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_silent_connections_gives_way_and_requests_that_have_begun_do_not() {
    const PLACES: usize = 40;
    let begun = Arc::new(AtomicBool::new(false));
    let beginning = Arc::clone(&begun);
    let app = Router::new().route("/", get(|| async { "here" })).route(
        "/slow",
        get(move || {
            beginning.store(true, Ordering::SeqCst);
            async {
                tokio::time::sleep(Duration::from_secs(3)).await;
                "finished"
            }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    // Nobody is let go for being slow within this test.
    let limits = ConnectionLimits {
        connections: PLACES,
        header: Duration::from_secs(600),
        stall: Duration::from_secs(600),
        drain: Duration::from_secs(1),
    };
    let server = tokio::spawn(serve_within(limits, listener, app, stop.clone()));
    let slow = tokio::spawn(async move { reqwest::get(format!("http://{address}/slow")).await?.text().await });
    let deadline = Instant::now() + Duration::from_secs(40);
    while !begun.load(Ordering::SeqCst) {
        assert!(Instant::now() < deadline, "the slow one has not begun");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let (over, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let flood = {
        let (over, opened) = (Arc::clone(&over), Arc::clone(&opened));
        tokio::spawn(async move {
            let mut held = std::collections::VecDeque::new();
            while !over.load(Ordering::SeqCst) {
                let mut peer = TcpStream::connect(address).await.unwrap();
                // Some say nothing, some the beginning of a header, some ask once and then the beginning of another.
                let sent: [&[u8]; 3] =
                    [b"", b"GET / HTTP/1.1\r\nx: ", b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nx: "];
                let count = opened.fetch_add(1, Ordering::SeqCst);
                let _ = peer.write_all(sent[count % 3]).await;
                held.push_back(peer);
                if held.len() > 4 * PLACES {
                    held.pop_front();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    };
    while opened.load(Ordering::SeqCst) < 2 * PLACES {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..30 {
        let answer = tokio::time::timeout(Duration::from_secs(10), reqwest::get(format!("http://{address}/"))).await;
        assert_eq!(answer.expect("others are served").unwrap().text().await.unwrap(), "here");
    }
    assert_eq!(slow.await.unwrap().unwrap(), "finished");
    over.store(true, Ordering::SeqCst);
    flood.await.unwrap();
    stop.cancel();
    server.await.unwrap().unwrap();
}
