//! A metadata database whose clock the harness sets, so that years pass in minutes: the function that every statement
//! asks for the time is found before the server's own.

use std::process::Stdio;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::process::Child;

use crate::stage::Stage;
use crate::support::platform;

const CLOCKWORK: &str = "CREATE SCHEMA clockwork;
    CREATE TABLE clockwork.clock (ahead double precision NOT NULL);
    INSERT INTO clockwork.clock VALUES (0);
    CREATE FUNCTION clockwork.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        'SELECT pg_catalog.clock_timestamp() + make_interval(secs => ahead) FROM clockwork.clock'";

/// Such a database.
#[derive(Debug, Clone)]
pub(crate) struct Clocked {
    pub(crate) url: String,
    pub(crate) pool: PgPool,
}

impl Clocked {
    /// Migrated, and with this machine's time.
    pub(crate) async fn create(stage: &Stage, name: &str) -> Self {
        let url = stage.own_database(name).await;
        let first = PgPool::connect(&url).await.unwrap();
        sqlx::raw_sql(CLOCKWORK).execute(&first).await.unwrap();
        let path = format!("ALTER DATABASE {name} SET search_path = public, clockwork, pg_catalog");
        sqlx::raw_sql(AssertSqlSafe(path)).execute(&first).await.unwrap();
        first.close().await;
        let pool = PgPoolOptions::new().max_connections(4).connect(&url).await.unwrap();
        sqlx::migrate!("./migrations").run(&pool).await.unwrap();
        Self { url, pool }
    }

    pub(crate) async fn now(&self) -> DateTime<Utc> {
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn set(&self, at: DateTime<Utc>) {
        let now = self.now().await;
        self.advance(at - now).await;
    }

    pub(crate) async fn advance(&self, by: TimeDelta) {
        let seconds = by.num_milliseconds() as f64 / 1_000.0;
        let later = sqlx::query("UPDATE clockwork.clock SET ahead = ahead + $1").bind(seconds);
        later.execute(&self.pool).await.unwrap();
    }

    /// Starts a process with the role `scheduler` alone over this database; it writes to this log.
    pub(crate) fn scheduler(&self, stage: &Stage, log: &str, settings: &[(&'static str, &str)]) -> Child {
        let mut command = platform::bare_program(&["serve"]);
        command.envs(stage.settings()).env("DATABASE_URL", &self.url).env("EXPORTER_ROLES", "scheduler");
        command.env("EXPORTER_BIND", "127.0.0.1:0").envs(settings.iter().copied());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(stage.log(log)).unwrap();
        command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }
}
