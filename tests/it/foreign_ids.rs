//! Another tenant's id and one that nobody has: the same statements, and how long both take.
//!
//! That the answers are the same is shown by the matrix of `auth_matrix`. How long they take is only printed here,
//! since a time proves nothing on a busy machine; `make bench` asks often enough for a figure.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::json;
use uuid::Uuid;

use crate::subscriptions::{PROTOCOL, Socket, connect, watch};
use crate::support::metadata;
use crate::support::platform::{Platform, Service};

/// Every operation over HTTP that takes an id; administrators' too.
const OPERATIONS: [(&str, &str); 3] = [
    (
        "requestStatus",
        "mutation { requestStatus(requestId: \"ID\") { status progress dataRequestDownloadLinks tables { name } } }",
    ),
    ("request", "{ request(requestId: \"ID\") { status progress dataRequestDownloadLinks tables { name } } }"),
    ("revokeLinks", "mutation { revokeLinks(requestId: \"ID\") { revoked } }"),
];

/// A job of another tenant with tables and files, in each state that a job can be seen in.
async fn foreign(platform: &Platform) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for state in ["QUEUED", "RUNNING", "COMPLETED", "FAILED"] {
        let id = metadata::job(&platform.metadata, "other", state, "2026-11-18T13:00:00Z".parse().unwrap()).await;
        if state != "QUEUED" {
            metadata::table(&platform.metadata, id, "way", "COMPLETED", &[("dev/way_000.parquet", 1, 1)]).await;
        }
        ids.push(id);
    }
    ids
}

async fn greeted(service: &Service) -> Socket {
    let mut socket = connect(service, &[PROTOCOL]).await.unwrap();
    socket.say(json!({"type": "connection_init"})).await;
    assert_eq!(socket.hear().await.unwrap()["type"], "connection_ack");
    socket
}

/// Subscribes and waits for the end, which comes at once.
async fn watched(socket: &mut Socket, id: Uuid) {
    socket.subscribe("1", &watch(&id.to_string())).await;
    while socket.hear().await.unwrap()["type"] != "complete" {}
}

/// What the server of the metadata database has been asked since this was made or asked last.
struct Statements {
    log: PathBuf,
    seen: u64,
    pattern: Regex,
}

impl Statements {
    async fn of(platform: &Platform) -> Self {
        let folder: String =
            sqlx::query_scalar("SELECT current_setting('data_directory')").fetch_one(&platform.metadata).await.unwrap();
        let log = PathBuf::from(folder).with_file_name("postgres.log");
        let seen = std::fs::metadata(&log).unwrap().len();
        Self { log, seen, pattern: Regex::new(r"LOG:  (?:execute [^:]+|statement): (.*)").unwrap() }
    }

    /// The first line of each: what stands there in the statements' files tells them apart. What a connection is set up
    /// with is asked for by nobody. A transaction that was given up is ended after the answer, so this waits until nothing
    /// has been asked for a while.
    async fn since(&mut self) -> Vec<String> {
        let mut all = self.more();
        let mut quiet = Instant::now();
        while quiet.elapsed() < Duration::from_millis(300) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let more = self.more();
            if !more.is_empty() {
                quiet = Instant::now();
                all.extend(more);
            }
        }
        all
    }

    fn more(&mut self) -> Vec<String> {
        let mut file = std::fs::File::open(&self.log).unwrap();
        file.seek(SeekFrom::Start(self.seen)).unwrap();
        let mut bytes = Vec::new();
        self.seen += file.read_to_end(&mut bytes).unwrap() as u64;
        let text = String::from_utf8_lossy(&bytes);
        let statements = self.pattern.captures_iter(&text).map(|found| found[1].to_owned());
        statements.filter(|statement| !statement.starts_with("SET ")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_asked_of_the_database_for_a_foreign_id_as_for_an_unknown_one() {
    let platform = Platform::empty("foreign_statements").await;
    let database = platform.metadata_url.rsplit('/').next().unwrap();
    let log_all = format!("ALTER DATABASE {database} SET log_statement = 'all'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(log_all)).execute(&platform.metadata).await.unwrap();
    let foreign = foreign(&platform).await;
    let service = platform.serve("api", "api", &[]).await;
    let mut statements = Statements::of(&platform).await;
    for (name, document) in OPERATIONS {
        let mut asked = Vec::new();
        for id in foreign.iter().copied().chain([Uuid::now_v7(), Uuid::now_v7()]) {
            statements.since().await;
            service.ask(&document.replace("ID", &id.to_string())).await;
            asked.push(statements.since().await);
        }
        assert!(!asked[0].is_empty(), "{name}: nothing was logged");
        assert!(asked.iter().all(|one| *one == asked[0]), "{name}: {asked:#?}");
    }
    let mut socket = greeted(&service).await;
    let mut asked = Vec::new();
    for id in foreign.iter().copied().chain([Uuid::now_v7(), Uuid::now_v7()]) {
        statements.since().await;
        watched(&mut socket, id).await;
        asked.push(statements.since().await);
    }
    assert!(!asked[0].is_empty() && asked.iter().all(|one| *one == asked[0]), "requestProgress: {asked:#?}");
}

/// The three quartiles.
fn quartiles(mut times: Vec<Duration>) -> [f64; 3] {
    times.sort();
    [1, 2, 3].map(|quarter| times[(times.len() - 1) * quarter / 4].as_secs_f64() * 1e6)
}

/// Asks for foreign and unknown ids in turn, `BENCH_REQUESTS` times each, and prints both distributions.
#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_foreign_and_an_unknown_id_take() {
    let times: usize = std::env::var("BENCH_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let platform = Platform::empty("foreign_times").await;
    let foreign = foreign(&platform).await;
    let service = platform.serve("api", "api", &[("EXPORTER_LOG", "warn")]).await;
    let (client, url) = (reqwest::Client::new(), service.url("/graphql"));
    let mut socket = greeted(&service).await;
    println!("{times} requests each, in turn; microseconds");
    println!(
        "| operation | foreign: median (quartiles) | unknown: median (quartiles) | medians differ by | of the inter-quartile range |"
    );
    println!("|---|---|---|---|---|");
    for (name, document) in OPERATIONS.into_iter().chain([("requestProgress", "")]) {
        let mut taken = [Vec::new(), Vec::new()];
        for round in 0..times + 10 {
            // Either goes first as often as the other.
            for turn in [round % 2, 1 - round % 2] {
                let id = if turn == 0 { foreign[round % foreign.len()] } else { Uuid::now_v7() };
                let since = Instant::now();
                if document.is_empty() {
                    watched(&mut socket, id).await;
                } else {
                    let body = json!({"query": document.replace("ID", &id.to_string())});
                    let answer = client.post(&url).json(&body).send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    drop(answer.bytes().await.unwrap());
                }
                if round >= 10 {
                    taken[turn].push(since.elapsed());
                }
            }
        }
        let [foreign, unknown] = taken.map(quartiles);
        let difference = (foreign[1] - unknown[1]).abs();
        let range = (foreign[2] - foreign[0]).max(unknown[2] - unknown[0]);
        let shown = |of: [f64; 3]| format!("{:.0} ({:.0}–{:.0})", of[1], of[0], of[2]);
        println!(
            "| {name} | {} | {} | {:.1} % | {:.0} % |",
            shown(foreign),
            shown(unknown),
            100.0 * difference / unknown[1],
            100.0 * difference / range
        );
    }
}
