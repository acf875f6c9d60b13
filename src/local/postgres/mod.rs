//! A private PostgreSQL for local mode, run from the programs that the machine has installed.
//!
//! It listens on 127.0.0.1 only, at another free port each time, for one role with a random password. It runs under
//! a small supervisor that ends it when this process ends, in whatever way. It never uses or touches a cluster of
//! the machine's, never downloads programs, and never runs as root.
//!
//! Its commits survive the death of PostgreSQL, not that of the operating system (`fsync` is off): it holds what can
//! be made again.

mod account;
mod binaries;
mod cluster;
mod error;
mod server;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::process::Child;

use self::account::Account;
use self::binaries::Binaries;
use self::cluster::DataDir;

pub use self::error::LocalPostgresError;

/// The server's only role, a superuser.
const ROLE: &str = "exporter";

/// The database that every cluster has.
const ADMIN_DATABASE: &str = "postgres";

/// How long a start may take; recovery after a kill is part of it.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a stop may take. The supervisor turns to harder signals after 30 s and kills after 45 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a port that somebody else took in the meantime is replaced by another.
const PORT_ATTEMPTS: u32 = 5;

/// Where and how the private PostgreSQL runs.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Its directory, for it alone; created where it is missing.
    pub data_dir: PathBuf,
    /// The port on 127.0.0.1; without one, a free one is taken at each start.
    pub port: Option<u16>,
}

impl PostgresOptions {
    /// A server in this directory, on a free port.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), port: None }
    }
}

/// A running PostgreSQL. Dropped or [stopped](PrivatePostgres::stop), it ends; so it does when this process dies.
#[derive(Debug)]
pub struct PrivatePostgres {
    data: DataDir,
    port: u16,
    password: SecretString,
    supervisor: Child,
    log_start: u64,
}

impl PrivatePostgres {
    /// Starts the server, creating its cluster at the first time, and returns when it answers.
    ///
    /// A server that a killed exporter left behind is ended first; a stale pid file does not matter.
    ///
    /// # Errors
    /// No programs, no fitting version, no rights, another exporter in this directory, or a server that ends; each
    /// with the way out.
    pub async fn start(options: PostgresOptions) -> Result<Self, LocalPostgresError> {
        let data = DataDir::open(&options.data_dir)?;
        let cluster = data.cluster();
        let account = Account::choose(data.path(), &cluster)?;
        let binaries = Binaries::find(&cluster, data.made_by()).await?;
        if let Some(account) = &account {
            account.check_reach(data.path(), &binaries.postgres()).await?;
        }
        if data.made_by().is_none() {
            data.create_cluster(&binaries, account.as_ref()).await?;
        } else if let Some(account) = &account {
            account.give_tree(&cluster)?;
        }
        let password = data.password()?;

        let mut attempt = 1;
        loop {
            let stale_pid = data.end_leftover(account.as_ref()).await?;
            let port = match options.port {
                Some(port) => port,
                None => free_port()?,
            };
            let (log, log_start) = data.open_log()?;
            let mut supervisor = server::spawn(&binaries, account.as_ref(), &cluster, port, stale_pid, log)?;
            match wait_ready(&mut supervisor, &data, port, &password).await? {
                Readiness::Ready => return Ok(Self { data, port, password, supervisor, log_start }),
                Readiness::Not(what) => {
                    let tail = data.log_tail(log_start);
                    let port_taken = options.port.is_none() && tail.contains("could not bind");
                    if !port_taken || attempt == PORT_ATTEMPTS {
                        return Err(LocalPostgresError::NotReady { what, log: data.log(), tail });
                    }
                }
            }
            attempt += 1;
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server writes about itself.
    pub fn log_file(&self) -> PathBuf {
        self.data.log()
    }

    /// The address of a database: `postgres://user:password@127.0.0.1:port/database`.
    pub fn url(&self, database: &str) -> SecretString {
        let database = utf8_percent_encode(database, NON_ALPHANUMERIC);
        let password = self.password.expose_secret();
        SecretString::from(format!("postgres://{ROLE}:{password}@127.0.0.1:{}/{database}", self.port))
    }

    /// The address of the database that every cluster has.
    pub fn admin_url(&self) -> SecretString {
        self.url(ADMIN_DATABASE)
    }

    /// Creates a database, unless there is one of this name.
    ///
    /// # Errors
    /// The server does not do it.
    pub async fn create_database(&self, name: &str) -> Result<(), LocalPostgresError> {
        let failed = |source| LocalPostgresError::Sql { action: format!("create the database '{name}'"), source };
        let mut connection =
            PgConnection::connect_with(&connect_options(self.port, &self.password)).await.map_err(failed)?;
        let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .map_err(failed)?;
        if !there {
            let statement = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
            match connection.execute(AssertSqlSafe(statement)).await {
                Err(sqlx::Error::Database(error)) if already_there(error.code().as_deref()) => {}
                Err(source) => return Err(failed(source)),
                Ok(_) => {}
            }
        }
        connection.close().await.map_err(failed)
    }

    /// Ends the server by a fast shutdown, which rolls back what is open, and waits until it has ended.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn stop(mut self) -> Result<(), LocalPostgresError> {
        drop(self.supervisor.stdin.take());
        match tokio::time::timeout(STOP_TIMEOUT, self.supervisor.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => {
                tracing::warn!(
                    status = %how(status), log = %self.data.log().display(),
                    "the private PostgreSQL did not shut down cleanly; it recovers at its next start"
                );
                Ok(())
            }
            Ok(Err(source)) => Err(LocalPostgresError::Io { action: "wait for", path: self.data.cluster(), source }),
            Err(_) => Err(LocalPostgresError::NotStopped {
                seconds: STOP_TIMEOUT.as_secs(),
                log: self.data.log(),
                tail: self.data.log_tail(self.log_start),
            }),
        }
    }
}

/// How the wait for a server ended.
enum Readiness {
    Ready,
    /// It is not there, and its supervisor has ended or is told to; what happened, as the end of a sentence.
    Not(String),
}

async fn wait_ready(
    supervisor: &mut Child,
    data: &DataDir,
    port: u16,
    password: &SecretString,
) -> Result<Readiness, LocalPostgresError> {
    let options = connect_options(port, password);
    let begun = Instant::now();
    loop {
        let exited = supervisor.try_wait().map_err(LocalPostgresError::io("wait for", &data.cluster()))?;
        if let Some(status) = exited {
            return Ok(Readiness::Not(format!("ended at its start ({})", how(status))));
        }
        let answer = tokio::time::timeout(Duration::from_secs(5), PgConnection::connect_with(&options)).await;
        let error = match answer {
            Ok(Ok(connection)) => {
                // Closing is a courtesy; the server is there.
                let _ = connection.close().await;
                return Ok(Readiness::Ready);
            }
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        // Another server at this port refuses the password too: what counts is that ours is still running.
        if let sqlx::Error::Database(error) = &error
            && error.code().as_deref() == Some("28P01")
            && supervisor.try_wait().is_ok_and(|exited| exited.is_none())
            && begun.elapsed() > Duration::from_secs(2)
        {
            return Err(data.password_lost());
        }
        if begun.elapsed() > START_TIMEOUT {
            return Ok(Readiness::Not(format!("was not ready within {} s", START_TIMEOUT.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn connect_options(port: u16, password: &SecretString) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(ROLE)
        .password(password.expose_secret())
        .database(ADMIN_DATABASE)
        .ssl_mode(PgSslMode::Disable)
        .application_name("data-exporter local")
}

/// A port that is free now. Somebody may take it before the server does: the start is repeated then.
fn free_port() -> Result<u16, LocalPostgresError> {
    let loopback = Path::new("127.0.0.1");
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(LocalPostgresError::io("listen on", loopback))?;
    Ok(listener.local_addr().map_err(LocalPostgresError::io("listen on", loopback))?.port())
}

/// Created by somebody else in the meantime: `duplicate_database`, or a clash in the catalog's index.
fn already_there(code: Option<&str>) -> bool {
    matches!(code, Some("42P04" | "23505"))
}

fn how(status: ExitStatus) -> String {
    status.code().map_or_else(|| "killed".to_owned(), |code| format!("exit code {code}"))
}
