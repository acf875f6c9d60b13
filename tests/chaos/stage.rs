//! One installation for all experiments: a PostgreSQL of its own for the queue, a warehouse, the S3 server as a process,
//! one process that answers, and workers.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use data_exporter::local::postgres::{PostgresOptions, PrivatePostgres};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, FromRow};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::line::Line;
use crate::store::Store;
use crate::support::{cluster, platform, s3};
use crate::worker::Worker;

/// The day of the warehouse's rows.
pub(crate) const DAY: (i64, i64) = (1_772_409_600, 1_772_496_000);
/// The tables that every request asks for.
pub(crate) const TABLES: [&str; 3] = ["reading_a", "reading_b", "reading_c"];
/// How long anything may take before the harness itself gives up.
const PATIENCE: Duration = Duration::from_secs(300);
const DATABASE: &str = "chaos";

pub(crate) struct Stage {
    pub(crate) store: Store,
    pub(crate) metadata: PgPool,
    pub(crate) warehouse: PgPool,
    pub(crate) workers: Vec<Worker>,
    settings: BTreeMap<&'static str, String>,
    warehouse_url: String,
    postgres: Option<PrivatePostgres>,
    options: PostgresOptions,
    api: (Child, String),
    started: usize,
    folder: TempDir,
}

/// A moment to count from: the harness's clock, which is the database's, and its last note.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) at: DateTime<Utc>,
    pub(crate) note: i64,
}

impl Stage {
    /// Everything but workers.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::start(&folder.path().join("objects")).await;
        let warehouse_url = cluster::create("chaos_warehouse").await;
        let warehouse = cluster::pool(&warehouse_url).await;
        sqlx::raw_sql(include_str!("warehouse.sql")).execute(&warehouse).await.unwrap();

        let (postgres, options) = own_postgres().await;
        let url = created(&postgres, DATABASE).await;
        let metadata = PgPoolOptions::new().max_connections(8).connect(&url).await.unwrap();
        sqlx::migrate!("./migrations").run(&metadata).await.unwrap();
        sqlx::raw_sql(include_str!("watch.sql")).execute(&metadata).await.unwrap();
        let rules = "INSERT INTO export_tables (table_name, time_column)
                SELECT name, 'at' FROM unnest(ARRAY['reading_a', 'reading_b', 'reading_c', 'poison']) AS name;
            INSERT INTO data_column_classification (table_name, column_name, classification)
                SELECT table_name, name, 'nr' FROM export_tables, unnest(ARRAY['id', 'at', 'a', 'b', 'c']) AS name
                WHERE table_name <> 'poison' OR name IN ('id', 'at', 'a')";
        sqlx::raw_sql(rules).execute(&metadata).await.unwrap();

        let settings = BTreeMap::from([
            ("DATABASE_URL", url),
            ("EXPORTER_WAREHOUSE_URL", warehouse_url.clone()),
            ("EXPORTER_BUCKET", s3::BUCKET.to_owned()),
            ("EXPORTER_S3_PATH_STYLE", "true".to_owned()),
            ("EXPORTER_AUTH", "none".to_owned()),
            ("EXPORTER_RATE_LIMIT", "0".to_owned()),
            ("EXPORTER_RETENTION_DAYS", "36500".to_owned()),
            ("EXPORTER_LOG", "info".to_owned()),
            ("EXPORTER_MAX_CONCURRENT_PARTITIONS", "1".to_owned()),
            ("EXPORTER_MAX_ACTIVE_JOBS_PER_TENANT", "6".to_owned()),
            ("EXPORTER_PARTITION_TARGET_BYTES", "1048576".to_owned()),
            ("AWS_ENDPOINT_URL", store.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]);
        let api = service(&settings, &folder.path().join("api.log")).await;
        let workers = Vec::new();
        let postgres = Some(postgres);
        Self {
            store,
            metadata,
            warehouse,
            workers,
            settings,
            warehouse_url,
            postgres,
            options,
            api,
            started: 0,
            folder,
        }
    }

    /// An empty database beside the queue's, and its address.
    pub(crate) async fn own_database(&self, name: &str) -> String {
        created(self.postgres.as_ref().unwrap(), name).await
    }

    /// What every process is told.
    pub(crate) fn settings(&self) -> &BTreeMap<&'static str, String> {
        &self.settings
    }

    /// Where the log of this name is.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// Ends the workers that there are, and starts so many with these settings.
    pub(crate) async fn crew(&mut self, workers: usize, settings: &[(&'static str, &str)]) {
        for mut worker in self.workers.drain(..) {
            let _ = worker.child.kill().await;
        }
        // Nobody is left who could renew: nothing of the last experiment is noticed in this one.
        let lost = "UPDATE TABLE SET lease_until = clock_timestamp() - interval '1 s' WHERE lease_until IS NOT NULL";
        for table in ["export_jobs", "export_job_tables", "export_job_partitions"] {
            self.run(&lost.replace("TABLE", table)).await;
        }
        for slot in 0..workers {
            let worker = self.hire(slot, settings).await;
            self.workers.push(worker);
        }
        for worker in &mut self.workers {
            worker.ready(PATIENCE).await;
        }
    }

    /// Puts a new worker in the place of one, and gives the one.
    pub(crate) async fn replace(&mut self, slot: usize, settings: &[(&'static str, &str)]) -> Worker {
        let mut fresh = self.hire(slot, settings).await;
        fresh.ready(PATIENCE).await;
        std::mem::replace(&mut self.workers[slot], fresh)
    }

    async fn hire(&mut self, slot: usize, settings: &[(&'static str, &str)]) -> Worker {
        self.started += 1;
        let name = format!("worker{}", self.started);
        let log = self.folder.path().join(format!("{name}.log"));
        let line = Line::to(self.options.port.unwrap()).await;
        let through = |url: &str, port: u16| {
            let mut url = url::Url::parse(url).unwrap();
            url.set_port(Some(port)).unwrap();
            url
        };
        let database = through(&self.settings["DATABASE_URL"], line.port);
        // A role for each slot: whoever reads something in the warehouse is known by it.
        let mut warehouse = url::Url::parse(&self.warehouse_url).unwrap();
        let role = reader(slot);
        let made = format!(
            "DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             ALTER ROLE {role} PASSWORD 'reads'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
        );
        sqlx::raw_sql(AssertSqlSafe(made)).execute(&self.warehouse).await.unwrap();
        warehouse.set_username(&role).unwrap();
        warehouse.set_password(Some("reads")).unwrap();
        let mut command = platform::bare_program(&["serve"]);
        command.envs(&self.settings).env("EXPORTER_ROLES", "worker").env("EXPORTER_BIND", "127.0.0.1:0");
        command.env("DATABASE_URL", database.as_str()).env("EXPORTER_WAREHOUSE_URL", warehouse.as_str());
        command.envs(settings.iter().copied());
        let child = command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        Worker { id: Uuid::nil(), child, line, log }
    }

    /// Asks the service; `None` when it cannot answer just now.
    pub(crate) async fn ask(&self, query: &str) -> Option<Value> {
        ask(&self.api.1, query).await
    }

    /// Requests these tables, as often as it takes.
    pub(crate) async fn request(&self, tables: &[&str]) -> Uuid {
        let query = request(tables, "");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(&query).await;
            let id = answer.as_ref().and_then(|answer| answer["data"]["requestData"].as_str()?.parse().ok());
            if let Some(id) = id {
                return id;
            }
            assert!(Instant::now() < deadline, "nothing is taken: {answer:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Keeps so many requests going until it is told to stop.
    pub(crate) fn feed(&self, jobs: i64) -> Feed {
        let (pool, address, stop) = (self.metadata.clone(), self.api.1.clone(), CancellationToken::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                let open = sqlx::query_scalar::<_, i64>(AssertSqlSafe(format!("SELECT count(*) {UNFINISHED}")));
                if matches!(open.fetch_one(&pool).await, Ok(open) if open < jobs) {
                    ask(&address, &request(&TABLES, "")).await;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Feed { stop, task }
    }

    /// Waits until every job has ended. Returns how many had not when patience did.
    pub(crate) async fn settled(&self, patience: Duration) -> usize {
        let deadline = Instant::now() + patience;
        loop {
            let open: i64 = self.one(&format!("SELECT count(*) {UNFINISHED}")).await;
            if open == 0 || Instant::now() > deadline {
                return usize::try_from(open).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn mark(&self) -> Mark {
        let at = now();
        Mark { at, note: self.one("SELECT coalesce(max(id), 0) FROM chaos.moves").await }
    }

    /// What a worker holds.
    pub(crate) async fn held(&self, worker: Uuid) -> i64 {
        self.one(&format!(
            "SELECT (SELECT count(*) FROM export_job_partitions WHERE worker = '{worker}')
                  + (SELECT count(*) FROM export_job_tables WHERE worker = '{worker}')
                  + (SELECT count(*) FROM export_jobs WHERE worker = '{worker}')"
        ))
        .await
    }

    /// Ends the queue's PostgreSQL at once, as a power cut of it would, and starts it again.
    pub(crate) async fn crash_postgres(&mut self) {
        let pid = std::fs::read_to_string(self.options.data_dir.join("cluster/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().trim().to_owned();
        assert!(std::process::Command::new("kill").args(["-QUIT", &pid]).status().unwrap().success());
        let server = self.postgres.take().unwrap();
        let _ = server.stop().await;
        self.postgres = Some(PrivatePostgres::start(self.options.clone()).await.unwrap());
    }

    /// One value from the queue's database, which may be away for a while.
    pub(crate) async fn one<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        patiently(|| sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&self.metadata)).await
    }

    /// All rows of a question to the queue's database.
    pub(crate) async fn all<T>(&self, sql: &str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        patiently(|| sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_all(&self.metadata)).await
    }

    async fn run(&self, sql: &str) {
        patiently(|| sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&self.metadata)).await;
    }

    /// Where logs are, for whoever looks after a failure.
    pub(crate) fn keep_logs(self) -> PathBuf {
        self.folder.keep()
    }
}

const UNFINISHED: &str = "FROM export_jobs WHERE state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED')";

/// Requests that come as others end.
pub(crate) struct Feed {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Feed {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// This machine's time, which is the database's, too: it runs here.
#[allow(clippy::disallowed_methods, reason = "whoever kills says when; nothing of the product is decided by it")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The role in the warehouse of whoever works in this slot.
pub(crate) fn reader(slot: usize) -> String {
    format!("chaos_reader_{slot}")
}

/// The mutation for these tables, with more arguments.
pub(crate) fn request(tables: &[&str], more: &str) -> String {
    let (start, end) = DAY;
    format!("mutation {{ requestData(startTime: {start}, endTime: {end}, tables: {tables:?}{more}) }}")
}

async fn ask(address: &str, query: &str) -> Option<Value> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
    let asked = client.post(format!("http://{address}/graphql")).json(&json!({ "query": query })).send().await;
    asked.ok()?.json().await.ok()
}

/// Starts a process that answers, and waits until it is ready: it and its address.
async fn service(settings: &BTreeMap<&'static str, String>, log: &Path) -> (Child, String) {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut command = platform::bare_program(&["serve"]);
        command.envs(settings).env("EXPORTER_ROLES", "api").env("EXPORTER_BIND", &address);
        let written = std::fs::File::create(log).unwrap();
        let mut child = command.stdout(Stdio::null()).stderr(written).spawn().unwrap();
        let (ready, deadline) = (format!("http://{address}/readyz"), Instant::now() + PATIENCE);
        while child.try_wait().unwrap().is_none() {
            if matches!(reqwest::get(&ready).await, Ok(answer) if answer.status() == 200) {
                return (child, address);
            }
            assert!(Instant::now() < deadline, "never: the service is ready");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        // Somebody else may have taken the port: another one is tried.
        let said = std::fs::read_to_string(log).unwrap();
        assert!(said.contains("cannot listen on"), "{said}");
    }
}

/// Waits for a condition.
pub(crate) async fn until<W: Future<Output = bool>>(what: &str, reached: impl Fn() -> W) {
    let deadline = Instant::now() + PATIENCE;
    while !reached().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

async fn patiently<T, W: Future<Output = Result<T, sqlx::Error>>>(ask: impl Fn() -> W) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(done) => return done,
            Err(error @ sqlx::Error::Database(_)) if !passes(&error) => panic!("{error}"),
            Err(error) => assert!(Instant::now() < deadline, "the database does not come back: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Classes 08 and 57: the server ends, starts, or has lost the connection.
fn passes(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
    code.starts_with("08") || code.starts_with("57")
}

/// An empty database of this name, and its address.
async fn created(server: &PrivatePostgres, name: &str) -> String {
    let admin = PgPoolOptions::new().connect(server.admin_url().expose_secret()).await.unwrap();
    let drop_it = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    sqlx::raw_sql(AssertSqlSafe(drop_it)).execute(&admin).await.unwrap();
    admin.close().await;
    server.create_database(name).await.unwrap();
    server.url(name).expose_secret().to_owned()
}

/// A server that nobody else uses, on a port that it keeps when it is started again. Its folder is kept for the next run.
async fn own_postgres() -> (PrivatePostgres, PostgresOptions) {
    let account = std::env::var("USER").unwrap_or_else(|_| "tests".to_owned());
    let base = std::env::temp_dir().join(format!("data-exporter-chaos-{account}"));
    let mut last = None;
    for folder in 0..5 {
        let mut options = PostgresOptions::new(base.join(folder.to_string()));
        match PrivatePostgres::start(options.clone()).await {
            Ok(server) => {
                options.port = Some(server.port());
                return (server, options);
            }
            Err(error) => last = Some(error),
        }
    }
    panic!("no PostgreSQL for the queue: {}", last.unwrap());
}
