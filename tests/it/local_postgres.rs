//! The private PostgreSQL: starting, stopping, and what is left when somebody dies.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use data_exporter::error::{ErrorCode, Failure};
use data_exporter::local::postgres::{LocalPostgresError, PostgresOptions, PrivatePostgres};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;

/// Below `/tmp`, where the account that root lends to the server may pass.
fn data_dir() -> TempDir {
    let dir = tempfile::Builder::new().prefix("exporter-it-").tempdir_in("/tmp").unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

async fn start(dir: &Path) -> Result<PrivatePostgres, LocalPostgresError> {
    PrivatePostgres::start(PostgresOptions::new(dir.join("pg"))).await
}

async fn connect(url: &SecretString) -> PgConnection {
    PgConnection::connect(url.expose_secret()).await.unwrap()
}

fn postmaster_pid(dir: &Path) -> u32 {
    let text = fs::read_to_string(dir.join("pg/cluster/postmaster.pid")).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

/// Neither gone nor a zombie that nobody has collected.
fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn parent_of(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

async fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn starts_stops_and_starts_again_with_what_was_committed() {
    let dir = data_dir();
    let server = start(dir.path()).await.unwrap();
    server.create_database("Über \"warehouse\"").await.unwrap();
    server.create_database("Über \"warehouse\"").await.unwrap();
    let mut connection = connect(&server.url("Über \"warehouse\"")).await;
    connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n").await.unwrap();
    for (setting, expected) in [
        ("listen_addresses", "127.0.0.1"),
        ("server_encoding", "UTF8"),
        ("synchronize_seqscans", "off"),
        ("max_connections", "200"),
        ("unix_socket_directories", ""),
        ("TimeZone", "UTC"),
    ] {
        let value: String =
            sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(&mut connection).await.unwrap();
        assert_eq!(value, expected, "{setting}");
    }
    let pid = postmaster_pid(dir.path());
    // A connection that is open does not hold up the stop.
    server.stop().await.unwrap();
    assert!(!alive(pid));

    let server = start(dir.path()).await.unwrap();
    let mut connection = connect(&server.url("Über \"warehouse\"")).await;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&mut connection).await.unwrap();
    assert_eq!(rows, 1000);

    // Only who knows the password gets in, and only we may read it.
    let stranger = server.admin_url().expose_secret().replace("exporter:", "exporter:x");
    assert!(PgConnection::connect(&stranger).await.is_err());
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(dir.path().join("pg/password")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_exporter_on_one_directory_is_told() {
    let dir = data_dir();
    let server = start(dir.path()).await.unwrap();
    let error = start(dir.path()).await.unwrap_err();
    assert!(matches!(error, LocalPostgresError::Busy { .. }), "{error}");
    let failure = Failure::from(error);
    assert_eq!(failure.code, ErrorCode::LocalSetupFailed);
    assert!(failure.message.contains("EXPORTER_DATA_DIR"), "{failure}");
    connect(&server.admin_url()).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn stale_pid_files_do_not_hurt() {
    let dir = data_dir();
    start(dir.path()).await.unwrap().stop().await.unwrap();
    let pid_file = dir.path().join("pg/cluster/postmaster.pid");
    // A living process of the server's own account is the hard case: PostgreSQL takes it for a server.
    let server_account = {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(dir.path().join("pg/cluster")).unwrap();
        (meta.uid(), meta.gid())
    };
    let mut bystander = Command::new("sleep");
    bystander.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).unwrap() == 0 {
        use std::os::unix::process::CommandExt;
        bystander.uid(server_account.0).gid(server_account.1);
    }
    let mut bystander = bystander.spawn().unwrap();
    let living = bystander.id();
    for content in [
        format!("{living}\n{}\n1700000000\n5432\n\n127.0.0.1\n  0 0\nready\n", dir.path().display()),
        format!("{}\n/elsewhere\n", std::process::id()),
        "3999999\n/elsewhere\n".to_owned(),
        String::new(),
        "gibberish".to_owned(),
    ] {
        fs::write(&pid_file, &content).unwrap();
        std::os::unix::fs::chown(&pid_file, Some(server_account.0), Some(server_account.1)).unwrap();
        let server = start(dir.path()).await.unwrap_or_else(|error| panic!("with {content:?}: {error}"));
        connect(&server.admin_url()).await;
        server.stop().await.unwrap();
    }
    assert!(bystander.try_wait().unwrap().is_none(), "the bystander was harmed");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

const HOLDER: &str = "EXPORTER_TEST_HOLD_POSTGRES_IN";

/// Not a test by itself: the process that `holder` starts and that is killed.
#[tokio::test]
async fn holds_a_postgres_for_another_test() {
    let Some(dir) = std::env::var_os(HOLDER) else { return };
    let _server = start(Path::new(&dir)).await.unwrap();
    fs::write(Path::new(&dir).join("ready"), "").unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
}

/// A process of its own that has a private PostgreSQL running in `dir`.
async fn holder(dir: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "local_postgres::holds_a_postgres_for_another_test"])
        .env(HOLDER, dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the other process has its server", || dir.join("ready").exists()).await;
    child
}

#[tokio::test]
async fn the_server_ends_with_a_killed_exporter() {
    let dir = data_dir();
    let mut exporter = holder(dir.path()).await;
    let pid = postmaster_pid(dir.path());
    assert!(alive(pid));
    exporter.kill().unwrap();
    exporter.wait().unwrap();
    wait_until("the server has ended", || !alive(pid)).await;
    assert!(!dir.path().join("pg/cluster/postmaster.pid").exists(), "an orderly shutdown removes it");
    start(dir.path()).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn the_server_ends_although_its_supervisor_was_killed_too() {
    let dir = data_dir();
    let mut exporter = holder(dir.path()).await;
    let pid = postmaster_pid(dir.path());
    kill("-KILL", parent_of(pid));
    exporter.kill().unwrap();
    exporter.wait().unwrap();
    // At once: the server may still be on its way out.
    let server = start(dir.path()).await.unwrap();
    assert!(!alive(pid));
    assert_ne!(postmaster_pid(dir.path()), pid);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_runs_without_any_supervisor_is_ended_and_replaced() {
    let dir = data_dir();
    let mut exporter = holder(dir.path()).await;
    let pid = postmaster_pid(dir.path());
    let supervisor = parent_of(pid);
    let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
    for child in children.split_whitespace().map(|id| id.parse().unwrap()).filter(|&id: &u32| id != pid) {
        kill("-KILL", child);
    }
    kill("-KILL", supervisor);
    exporter.kill().unwrap();
    exporter.wait().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(alive(pid), "nobody is left to end it");
    let server = start(dir.path()).await.unwrap();
    assert!(!alive(pid));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_committed_survives_a_killed_server() {
    let dir = data_dir();
    let server = start(dir.path()).await.unwrap();
    let mut connection = connect(&server.admin_url()).await;
    connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 100000) AS n").await.unwrap();
    connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)").await.unwrap();
    kill("-KILL", postmaster_pid(dir.path()));
    server.stop().await.unwrap();

    let server = start(dir.path()).await.unwrap();
    let mut connection = connect(&server.admin_url()).await;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&mut connection).await.unwrap();
    assert_eq!(rows, 101_000);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_start_shows_the_end_of_its_log() {
    let dir = data_dir();
    start(dir.path()).await.unwrap().stop().await.unwrap();
    fs::write(dir.path().join("pg/cluster/postgresql.auto.conf"), "no_such_setting = 1\n").unwrap();
    let error = start(dir.path()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, LocalPostgresError::NotReady { .. }), "{text}");
    assert!(text.contains("no_such_setting") && text.contains("postgres.log"), "{text}");
}

#[tokio::test]
async fn a_lost_password_is_told() {
    let dir = data_dir();
    start(dir.path()).await.unwrap().stop().await.unwrap();
    for content in ["", "another"] {
        fs::write(dir.path().join("pg/password"), content).unwrap();
        let error = start(dir.path()).await.unwrap_err();
        assert!(matches!(error, LocalPostgresError::PasswordLost { .. }), "{error}");
        assert!(!error.to_string().contains("another:"));
    }
}
