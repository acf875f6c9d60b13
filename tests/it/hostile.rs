//! Ten thousand documents that mean harm, and peers that do, against a real process: it goes on, its memory stays,
//! and others are served.

use std::fmt::Write;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::platform::{Platform, Service};

const DOCUMENTS: usize = 10_000;
/// Sent before memory is measured for the first time: pools, caches and buffers are full then.
const WARM: usize = 2_000;
const MOST_GROWTH_KIB: u64 = 10 * 1024;
/// Longest that anybody else waits; on a busy machine, in a build that is not optimised.
const PATIENCE: Duration = Duration::from_secs(5);

const SOUND: &str = "query q($id: String! = \"x\") { request(requestId: $id) { status ...f } exportTables { name } }
    fragment f on RequestStatus { progress tables { name rows error { code } } }";

/// A document of some hostile kind.
fn document(random: &mut StdRng) -> String {
    let many = |count: usize, each: &str| each.repeat(count);
    let n = random.random_range(1..3_000_usize);
    match random.random_range(0..16) {
        0 => many(n, "{ exportTables "),
        1 => format!("{}name{}", many(n % 60, "{ exportTables "), many(n % 60, "}")),
        2 => {
            let levels = n % 200;
            let mut text = "{ exportTables { ...f0 } }".to_owned();
            for level in 0..levels {
                write!(text, " fragment f{level} on ExportTable {{ ...f{0} ...f{0} }}", (level + 1) % levels.max(1))
                    .unwrap();
            }
            text
        }
        3 => {
            let levels = n % 60;
            let mut text = "{ exportTables { ...f0 } }".to_owned();
            for level in 0..levels {
                write!(text, " fragment f{level} on ExportTable {{ ...f{0} ...f{0} }}", level + 1).unwrap();
            }
            write!(text, " fragment f{levels} on ExportTable {{ name }}").unwrap();
            text
        }
        4 => format!("{{ {} }}", (0..n).fold(String::new(), |text, n| text + &format!("a{n}: __typename "))),
        5 => format!("{{ __typename {} }}", many(n, "@skip(if: false) ")),
        6 => {
            format!("query ({}) {{ __typename }}", (0..n).fold(String::new(), |text, n| text + &format!("$v{n}: Int ")))
        }
        7 => format!("{{ request(requestId: {}) {{ status }} }}", many(n, "[")),
        8 => format!("{{ request(requestId: {}) {{ status }} }}", many(n, "{a:")),
        9 => format!("{{ request(requestId: \"{}\") {{ status }} }}", many(n, "\\u0000é🚦")),
        10 => format!("query ($v: {}Int{}) {{ __typename }}", many(n, "["), many(n, "]")),
        11 => format!(
            "{{ __schema {{ types {{ fields {{ type {{ {} name {} }} }} }} }} }}",
            many(n % 40, "fields { type { "),
            many(n % 40, "} }")
        ),
        12 => {
            const WORDS: [&str; 24] = [
                "{",
                "}",
                "(",
                ")",
                "[",
                "]",
                ":",
                "!",
                "$",
                "@",
                "...",
                "\"",
                "\"\"\"",
                "query",
                "mutation",
                "fragment",
                "on",
                "exportTables",
                "name",
                "request",
                "1e999",
                "-0",
                "#",
                "\u{feff}",
            ];
            (0..n).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect::<Vec<_>>().join(" ")
        }
        13 => (0..n).map(|_| random.random::<char>()).collect(),
        14 => {
            let mut text: Vec<char> = SOUND.chars().collect();
            for _ in 0..n % 12 {
                let at = random.random_range(0..text.len());
                text[at] = random.random_range(' '..='~');
            }
            text.into_iter().collect()
        }
        _ => format!("subscription {{ {} }} {}", many(n, "x "), many(n % 100, "query { __typename } ")),
    }
}

/// A body of some hostile kind, most of them whole JSON.
fn body(random: &mut StdRng) -> Vec<u8> {
    let text = document(random);
    let n = random.random_range(0..2_000_usize);
    let whole = match random.random_range(0..8) {
        0 => json!({"query": text, "variables": {"id": "x".repeat(n), "v": vec![0; n]}}).to_string(),
        1 => format!("{{\"query\": \"{{ __typename }}\", \"variables\": {{\"a\": {}", "[".repeat(n * 10)),
        2 => format!("[{}]", vec!["{\"query\": \"{ __typename }\"}"; n % 500].join(",")),
        _ => json!({"query": text, "operationName": (n % 3 == 0).then_some("q")}).to_string(),
    };
    let mut bytes = whole.into_bytes();
    match random.random_range(0..6) {
        0 => bytes.truncate(n),
        1 => {
            for _ in 0..1 + n % 4 {
                let at = random.random_range(0..bytes.len().max(1)).min(bytes.len().saturating_sub(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.random_range(0x80..=0xff);
                }
            }
        }
        _ => {}
    }
    bytes
}

/// What the process holds in memory, in KiB.
fn resident(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.child.id().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Asks something sound; how long it took.
async fn served(client: &reqwest::Client, url: &str) -> Duration {
    let since = Instant::now();
    let body = json!({"query": "{ exportTables { name } }"});
    let answer = client.post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: serde_json::Value = answer.json().await.unwrap();
    assert!(answer["data"]["exportTables"].is_array(), "{answer}");
    since.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_hostile_documents_change_nothing() {
    let platform = Platform::empty("hostile").await;
    let mut service = platform.serve("api", "api", &[("EXPORTER_LOG", "warn")]).await;
    let (url, client) = (service.url("/graphql"), reqwest::Client::new());
    let seed: u64 = std::env::var("HOSTILE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_120);
    let mut random = StdRng::seed_from_u64(seed);
    let (mut measured, mut times, mut waits) = (0, Vec::new(), Vec::new());
    for sent in (0..DOCUMENTS).step_by(20) {
        if sent == WARM {
            measured = resident(&service);
        }
        let flood = (0..20).map(|_| {
            let (client, url, body) = (client.clone(), url.clone(), body(&mut random));
            async move {
                let since = Instant::now();
                let request = client.post(url).header("content-type", "application/json").body(body.clone());
                let answer = request.send().await.unwrap();
                let status = answer.status().as_u16();
                assert!(matches!(status, 200 | 400 | 413), "{status} for {}", String::from_utf8_lossy(&body));
                let text = answer.text().await.unwrap();
                assert!(text.len() < 100_000 && !text.contains("INTERNAL"), "{text}");
                since.elapsed()
            }
        });
        let (taken, waited) = tokio::join!(futures::future::join_all(flood), served(&client, &url));
        times.extend(taken);
        waits.push(waited);
    }
    let after = resident(&service);
    let longest = waits.iter().max().copied().unwrap_or_default();
    println!("{DOCUMENTS} hostile documents (seed {seed}), 20 at once with one of somebody honest; milliseconds");
    println!("| | p50 | p99 | longest |\n|---|---|---|---|");
    for (who, mut times) in [("a hostile document", times), ("somebody honest meanwhile", waits)] {
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!("| {who} | {:.1} | {:.1} | {:.1} |", at(0.5), at(0.99), at(1.0));
    }
    println!("Memory after {WARM} of them {measured} KiB, at the end {after} KiB.");
    assert!(after <= measured + MOST_GROWTH_KIB, "from {measured} KiB to {after} KiB");
    assert!(longest < PATIENCE, "others waited {longest:?}");
    assert!(service.child.try_wait().unwrap().is_none());
    assert!(!service.logged().contains("panicked"), "{}", service.logged());
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_connections_and_slow_peers_leave_room_for_others() {
    let platform = Platform::empty("floods").await;
    let mut service = platform.serve("api", "api", &[("EXPORTER_LOG", "warn")]).await;
    let (url, client) = (service.url("/graphql"), reqwest::Client::new());
    served(&client, &url).await;
    let before = resident(&service);
    let mut peers = Vec::new();
    for n in 0..500 {
        let mut peer = TcpStream::connect(&service.address).await.unwrap();
        let sent: &[u8] = match n % 4 {
            0 => b"",
            1 => b"POST /graphql HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
            2 => b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n{",
            _ => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        };
        peer.write_all(sent).await.unwrap();
        peers.push(peer);
    }
    for _ in 0..20 {
        assert!(served(&reqwest::Client::new(), &url).await < PATIENCE);
    }
    // Come and go, by the thousand.
    for _ in 0..1_000 {
        drop(TcpStream::connect(&service.address).await.unwrap());
    }
    assert!(served(&client, &url).await < PATIENCE);
    drop(peers);
    assert!(served(&client, &url).await < PATIENCE);
    let after = resident(&service);
    assert!(after <= before + MOST_GROWTH_KIB, "from {before} KiB to {after} KiB");
    assert!(service.child.try_wait().unwrap().is_none());
}
