//! A primary and a standby that follows it, both real, on loopback. They end with the test, however that ends.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tempfile::TempDir;

use super::cluster;

/// Ends the server when its standard input ends, which it does with this process.
const SUPERVISOR: &str = include_str!("../../../src/local/postgres/supervisor.sh");

/// What both run with: small, and nothing happens that the test does not do.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "wal_level=replica",
    "max_wal_senders=4",
    "max_connections=40",
    "shared_buffers=32MB",
    "dynamic_shared_memory_type=mmap",
    "fsync=off",
    "autovacuum=off",
    "hot_standby_feedback=off",
    "synchronize_seqscans=off",
    "wal_retrieve_retry_interval=100ms",
    "timezone=UTC",
];

/// The two servers.
pub(crate) struct Pair {
    pub(crate) primary: PgPool,
    pub(crate) standby: PgPool,
    pub(crate) standby_url: String,
    servers: Vec<Child>,
    _folder: TempDir,
}

impl Pair {
    /// Starts both, the standby with these settings beside.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        // The programs and the account are those of the server that all tests share.
        let mut shared = PgConnection::connect(&cluster::url("postgres")).await.unwrap();
        let asked = "SELECT (SELECT setting FROM pg_config WHERE name = 'BINDIR'), current_setting('data_directory')";
        let row = sqlx::query(asked).fetch_one(&mut shared).await.unwrap();
        let (programs, data): (String, String) = (row.get(0), row.get(1));
        let owner = fs::metadata(data).unwrap();
        let run = Account { programs: PathBuf::from(programs), uid: owner.uid(), gid: owner.gid() };

        let folder = tempfile::tempdir().unwrap();
        chown(folder.path(), Some(run.uid), Some(run.gid)).unwrap();
        let (first, second) = (folder.path().join("primary"), folder.path().join("standby"));
        let initdb = ["-U", "exporter", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"];
        run.to_its_end("initdb", initdb.iter().copied().chain([first.to_str().unwrap()]));
        let (primary_server, port) = run.serve(&first, &[]).await;
        let port = port.to_string();
        let copy =
            ["-h", "127.0.0.1", "-p", &port, "-U", "exporter", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-D"];
        run.to_its_end("pg_basebackup", copy.iter().copied().chain([second.to_str().unwrap()]));
        let (standby_server, standby_port) = run.serve(&second, settings).await;
        let url = |port: &str| format!("postgres://exporter@127.0.0.1:{port}/postgres?sslmode=disable");
        let standby_url = url(&standby_port.to_string());
        let pair = Self {
            primary: cluster::pool(&url(&port)).await,
            standby: cluster::pool(&standby_url).await,
            standby_url,
            servers: vec![primary_server, standby_server],
            _folder: folder,
        };
        pair.until("EXISTS (SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming')").await;
        pair
    }

    /// Runs statements on the primary, each by itself.
    pub(crate) async fn run(&self, statements: &[&str]) {
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe(*statement)).execute(&self.primary).await.unwrap();
        }
    }

    /// Waits until a condition holds on the standby.
    pub(crate) async fn until(&self, condition: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if self.holds(condition).await {
                return;
            }
            assert!(Instant::now() < deadline, "never on the standby: {condition}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the standby says of a condition.
    pub(crate) async fn holds(&self, condition: &str) -> bool {
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT {condition}")))
            .persistent(false)
            .fetch_one(&self.standby)
            .await
            .unwrap()
    }

    /// How much the primary has written.
    async fn position(&self) -> String {
        sqlx::query_scalar("SELECT pg_current_wal_lsn()::text").fetch_one(&self.primary).await.unwrap()
    }

    /// Waits until the standby has received what the primary has written so far.
    pub(crate) async fn received(&self) {
        let position = self.position().await;
        self.until(&format!("pg_last_wal_receive_lsn() >= '{position}'")).await;
    }

    /// Waits until the standby has replayed what the primary has written so far.
    pub(crate) async fn replayed(&self) {
        let position = self.position().await;
        self.until(&format!("pg_last_wal_replay_lsn() >= '{position}'")).await;
    }

    /// Pauses replay.
    pub(crate) async fn pause(&self) {
        sqlx::raw_sql("SELECT pg_wal_replay_pause()").execute(&self.standby).await.unwrap();
        self.until("pg_get_wal_replay_pause_state() = 'paused'").await;
    }

    /// Lets replay go on.
    pub(crate) async fn resume(&self) {
        sqlx::raw_sql("SELECT pg_wal_replay_resume()").execute(&self.standby).await.unwrap();
    }

    /// Ends the primary at once, with what it has not sent.
    pub(crate) fn lose_primary(&mut self) {
        end(&mut self.servers[0]);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // The standby first: it would look for its primary.
        self.servers.iter_mut().rev().for_each(end);
    }
}

/// The supervisor ends its server, and then itself.
fn end(server: &mut Child) {
    drop(server.stdin.take());
    let _ = server.wait();
}

/// Where the programs are, and who runs them.
struct Account {
    programs: PathBuf,
    uid: u32,
    gid: u32,
}

impl Account {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        if fs::metadata("/proc/self").unwrap().uid() != self.uid {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    fn to_its_end<'a>(&self, program: &str, arguments: impl IntoIterator<Item = &'a str>) {
        let done = self.command(&self.programs.join(program)).args(arguments).output().unwrap();
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Starts a server and waits until it answers.
    async fn serve(&self, cluster: &Path, settings: &[&str]) -> (Child, u16) {
        for _ in 0..5 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = self.command(Path::new("/bin/sh"));
            command.args(["-c", SUPERVISOR, "test-postgres"]).arg(self.programs.join("postgres"));
            command.arg("-D").arg(cluster).arg("-p").arg(port.to_string()).current_dir(cluster);
            for setting in SETTINGS.iter().chain(settings) {
                command.args(["-c", setting]);
            }
            let log = fs::File::create(cluster.with_extension("log")).unwrap();
            let mut server = command.stdin(Stdio::piped()).stderr(log).spawn().unwrap();
            let url = format!("postgres://exporter@127.0.0.1:{port}/postgres?sslmode=disable");
            let deadline = Instant::now() + Duration::from_secs(60);
            // Somebody else may have taken the port: then it ends, and another one is tried.
            while server.try_wait().unwrap().is_none() {
                if let Ok(connection) = PgConnection::connect(&url).await {
                    connection.close().await.unwrap();
                    return (server, port);
                }
                assert!(Instant::now() < deadline, "{} does not answer", cluster.display());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let log = fs::read_to_string(cluster.with_extension("log")).unwrap_or_default();
        panic!("{} does not start: {log}", cluster.display());
    }
}
