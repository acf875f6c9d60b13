//! A whole installation for one test: metadata database, warehouse, bucket, and processes of the real program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use chrono::{NaiveDate, TimeDelta};
use data_exporter::identity::{Actor, KeyStore, NewKey, Role};
use data_exporter::jobs::Tenant;
use data_exporter::local::s3::LocalS3;
use data_exporter::local::sample::{self, SampleOptions};
use data_exporter::rules::{RuleStore, shipped};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::postgres::PgPool;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{cluster, s3};

/// The program that is tested: the one that is built with the tests, unless `EXPORTER_TEST_PROGRAM` names another, as
/// `make bench` does.
pub(crate) fn program() -> String {
    std::env::var("EXPORTER_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_data-exporter").to_owned())
}

/// The last day of the sample.
pub(crate) fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, 2).unwrap()
}

/// The day's first second, and the first of the next.
pub(crate) fn day_range() -> (i64, i64) {
    let start = day().and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp();
    (start, start + 86_400)
}

/// An installation. Its servers end with it.
pub(crate) struct Platform {
    pub(crate) folder: TempDir,
    pub(crate) s3: LocalS3,
    pub(crate) metadata_url: String,
    pub(crate) metadata: PgPool,
    pub(crate) warehouse_url: String,
    pub(crate) warehouse: PgPool,
}

impl Platform {
    /// An empty installation: migrated, without rules and without tables.
    pub(crate) async fn empty(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let s3 = s3::local(&folder.path().join("objects")).await;
        let metadata_url = cluster::create(&format!("{name}_metadata")).await;
        let metadata = cluster::pool(&metadata_url).await;
        sqlx::migrate!("./migrations").run(&metadata).await.unwrap();
        let warehouse_url = cluster::create(&format!("{name}_warehouse")).await;
        let warehouse = cluster::pool(&warehouse_url).await;
        Self { folder, s3, metadata_url, metadata, warehouse_url, warehouse }
    }

    /// With the sample warehouse and the shipped rules.
    pub(crate) async fn sample(name: &str, rows: u64) -> Self {
        let platform = Self::empty(name).await;
        let options = SampleOptions { rows, ..SampleOptions::new(day()) };
        sample::build(&SecretString::from(platform.warehouse_url.as_str()), &options).await.unwrap();
        platform.rules().apply(&shipped().unwrap(), "test").await.unwrap();
        platform
    }

    pub(crate) fn rules(&self) -> RuleStore {
        RuleStore::new(self.metadata.clone())
    }

    /// What the program needs to find this installation.
    pub(crate) fn environment(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("DATABASE_URL", self.metadata_url.clone()),
            ("EXPORTER_WAREHOUSE_URL", self.warehouse_url.clone()),
            ("EXPORTER_BUCKET", s3::BUCKET.to_owned()),
            ("EXPORTER_S3_PATH_STYLE", "true".to_owned()),
            ("EXPORTER_AUTH", "none".to_owned()),
            ("EXPORTER_RATE_LIMIT", "0".to_owned()),
            // Rows that tests write have dates of their own.
            ("EXPORTER_RETENTION_DAYS", "36500".to_owned()),
            ("EXPORTER_LOG", "info".to_owned()),
            ("AWS_ENDPOINT_URL", self.s3.endpoint()),
            ("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ])
    }

    /// The program with these arguments, and nothing else set than what this installation says.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        let mut command = bare_program(arguments);
        command.envs(self.environment());
        command
    }

    /// A new key of the API.
    pub(crate) async fn key(&self, tenant: &str, role: Role) -> String {
        let wanted = NewKey { tenant: Tenant::new(tenant), role, name: "test".to_owned(), expires_days: None };
        let store = KeyStore::new(self.metadata.clone());
        let (secret, _) = store.create(&wanted, &Actor::command_line("test")).await.unwrap();
        secret.text.expose_secret().to_owned()
    }

    /// Starts a service in these roles and waits until it is ready.
    pub(crate) async fn serve(&self, name: &str, roles: &str, settings: &[(&str, &str)]) -> Service {
        for _ in 0..5 {
            if let Some(service) = self.try_serve(name, roles, settings).await {
                return service;
            }
        }
        panic!("{name} finds no free port");
    }

    /// None where somebody else has taken the port that was free.
    async fn try_serve(&self, name: &str, roles: &str, settings: &[(&str, &str)]) -> Option<Service> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let bind = format!("127.0.0.1:{port}");
        let log = self.folder.path().join(format!("{name}.log"));
        let mut command = self.program(&["serve"]);
        command.env("EXPORTER_ROLES", roles).env("EXPORTER_BIND", &bind).envs(settings.iter().copied());
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        let mut service = Service { child: command.spawn().unwrap(), address: bind, log };
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let ready = match roles.contains("api") {
                true => matches!(reqwest::get(service.url("/readyz")).await, Ok(answer) if answer.status() == 200),
                false => service.logged().contains("worker started"),
            };
            // Whoever answers may be somebody else who has the port: this one says that it does, if it says anything.
            let silent = settings.contains(&("EXPORTER_LOG", "warn"));
            let mine =
                silent || !roles.contains("api") || service.logged().contains(&format!("http://{}/", service.address));
            let ended = service.child.try_wait().unwrap().is_some();
            if ready && mine && !ended {
                return Some(service);
            }
            if ended && service.logged().contains("cannot listen on") {
                return None;
            }
            assert!(!ended && Instant::now() < deadline, "{name} did not start: {}", service.logged());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

/// The program with these arguments and an environment without settings.
pub(crate) fn bare_program(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for (key, _) in std::env::vars() {
        if key.starts_with("EXPORTER_") || key.starts_with("AWS_") || key == "DATABASE_URL" {
            command.env_remove(key);
        }
    }
    command
}

/// A running service; killed when it is dropped.
pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) address: String,
    log: PathBuf,
}

impl Service {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it has written about itself.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks and gives the whole answer.
    pub(crate) async fn ask(&self, query: &str) -> Value {
        let body = json!({ "query": query });
        let answer = reqwest::Client::new().post(self.url("/graphql")).json(&body).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// Asks with a key and gives the status and the whole answer.
    pub(crate) async fn ask_as(&self, key: &str, query: &str) -> (u16, Value) {
        let request = reqwest::Client::new().post(self.url("/graphql")).bearer_auth(key);
        let answer = request.json(&json!({ "query": query })).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Requests a range and gives the request's id.
    pub(crate) async fn request(&self, (start, end): (i64, i64)) -> String {
        let answer = self.ask(&format!("mutation {{ requestData(startTime: {start}, endTime: {end}) }}")).await;
        answer["data"]["requestData"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    pub(crate) async fn status(&self, id: &str) -> Value {
        let query = format!(
            "mutation {{ requestStatus(requestId: \"{id}\") {{ status progress dataRequestDownloadLinks linksExpireAt
               error {{ code message }} tables {{ name status rows bytes progress error {{ code message }} }} }} }}"
        );
        self.ask(&query).await["data"]["requestStatus"].take()
    }

    /// Polls until the request ends, and holds what progress promises on the way.
    pub(crate) async fn finished(&self, id: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(180);
        let mut progress = 0.0;
        loop {
            let status = self.status(id).await;
            let now = status["progress"].as_f64().unwrap();
            assert!(now >= progress, "progress fell from {progress} to {now}");
            assert_eq!(now == 100.0, status["status"] == "Completed", "{status}");
            progress = now;
            if status["status"] != "In Progress" {
                return status;
            }
            assert!(Instant::now() < deadline, "still {status}: {}", self.logged());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Downloads every link of a status with a plain HTTP client, into a folder for each table.
pub(crate) async fn download(status: &Value, folder: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut files = BTreeMap::new();
    for (table, links) in status["dataRequestDownloadLinks"].as_object().unwrap() {
        let folder = folder.join(table);
        std::fs::create_dir_all(&folder).unwrap();
        let mut of_table = Vec::new();
        for link in links.as_array().unwrap() {
            let link = link.as_str().unwrap();
            let answer = reqwest::get(link).await.unwrap();
            assert_eq!(answer.status(), 200, "{table}");
            let name = link.split('?').next().unwrap().rsplit('/').next().unwrap();
            let path = folder.join(name);
            std::fs::write(&path, answer.bytes().await.unwrap()).unwrap();
            of_table.push(path);
        }
        files.insert(table.clone(), of_table);
    }
    files
}

/// `day()` and the one before, as SQL wants them.
pub(crate) fn sql_day() -> (String, String) {
    (format!("{}T00:00Z", day()), format!("{}T00:00Z", day() + TimeDelta::days(1)))
}
