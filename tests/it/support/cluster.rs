//! One private PostgreSQL for all tests of this process, the same kind that local mode starts. It ends with the
//! process, however that ends.

use std::sync::OnceLock;
use std::sync::mpsc;

use data_exporter::local::postgres::{PostgresOptions, PrivatePostgres};
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// Several test processes may run at once; each takes the first folder that nobody uses. Folders are kept, since
/// making a cluster takes longer than most tests.
const FOLDERS: usize = 10;

static ADDRESS: OnceLock<String> = OnceLock::new();

/// The server's address with the placeholder `{database}`.
fn address() -> &'static str {
    ADDRESS.get_or_init(|| {
        let (tell, told) = mpsc::channel();
        // A thread and a runtime that outlive every test: the server is bound to both.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let server = start().await;
                tell.send(server.url("{database}").expose_secret().to_owned()).unwrap();
                std::future::pending::<()>().await;
                drop(server);
            });
        });
        told.recv().expect("the PostgreSQL for tests did not start; see the error above")
    })
}

async fn start() -> PrivatePostgres {
    // Not under the home directory, which the account that PostgreSQL runs under may not enter.
    let account = std::env::var("USER").unwrap_or_else(|_| "tests".to_owned());
    let base = std::env::temp_dir().join(format!("data-exporter-tests-{account}"));
    let mut last = None;
    for folder in 0..FOLDERS {
        match PrivatePostgres::start(PostgresOptions::new(base.join(folder.to_string()))).await {
            Ok(server) => {
                // Here, once: two tests that create it at the same time would be in each other's way.
                let address = server.url("postgres");
                let mut sql = PgConnection::connect(address.expose_secret()).await.unwrap();
                sqlx::raw_sql("CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public").execute(&mut sql).await.unwrap();
                sql.close().await.unwrap();
                return server;
            }
            Err(error) => last = Some(error),
        }
    }
    panic!("no PostgreSQL for tests: {}", last.unwrap());
}

/// The address of a database of that server.
pub(crate) fn url(database: &str) -> String {
    // The placeholder may have been encoded as part of an address.
    address().replace("%7Bdatabase%7D", database).replace("{database}", database)
}

/// An empty database of this name.
pub(crate) async fn create(name: &str) -> String {
    let admin: PgConnectOptions = url("postgres").parse().unwrap();
    let mut sql = admin.connect().await.unwrap();
    for statement in [format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut sql).await.unwrap();
    }
    sql.close().await.unwrap();
    url(name)
}

/// A small pool.
pub(crate) async fn pool(url: &str) -> PgPool {
    PgPoolOptions::new().max_connections(8).connect(url).await.unwrap()
}
