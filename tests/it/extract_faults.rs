//! How scans end when they do not end well: dropped, silent, refused, cut off; and what they say of it.

use std::time::{Duration, Instant};

use data_exporter::error::ErrorCode;
use data_exporter::warehouse::postgres::{PostgresOptions, PostgresWarehouse};
use data_exporter::warehouse::{ScanContext, ScanSpec, Warehouse, WarehouseError};
use secrecy::SecretString;
use sqlx::Connection;

use crate::support::warehouse::{TestWarehouse, context, url};

/// How many sessions of this name run something.
async fn sessions(test: &mut TestWarehouse, application_name: &str) -> usize {
    test.texts(format!("SELECT pid::text FROM pg_stat_activity WHERE application_name = '{application_name}'"))
        .await
        .len()
}

async fn until_gone(test: &mut TestWarehouse, application_name: &str) -> Duration {
    let start = Instant::now();
    while sessions(test, application_name).await > 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "{application_name} still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn dropping_a_scan_ends_the_servers_query() {
    let mut test = TestWarehouse::new("extract_drop").await;
    test.run(
        "CREATE VIEW endless AS SELECT generate_series(1, 1000000000)::bigint AS id, repeat('x', 100) AS text;
         -- Computes without ever writing a row: closing the socket would not end it.
         CREATE VIEW silent AS SELECT id FROM (SELECT generate_series(1, 1000000000)::bigint AS id) g WHERE id % 2 = 3;
         CREATE VIEW first_then_silent AS SELECT id FROM (SELECT generate_series(1, 1000000000)::bigint AS id) g WHERE id < 100000",
    )
    .await;
    for (view, read) in [("endless", 2), ("endless", 0), ("silent", 0), ("first_then_silent", 1)] {
        let name = format!("drop {view} {read}");
        let (scan, start) = (test.whole(view).await, context(&name));
        // The server keeps even its first answer back until it has rows to send with it.
        let scanning = tokio::time::timeout(Duration::from_secs(2), test.warehouse.scan(&scan, &start)).await;
        assert_eq!(scanning.is_err(), view == "silent", "{name}");
        if let Ok(stream) = scanning {
            let mut stream = stream.unwrap();
            for _ in 0..read {
                assert!(stream.next().await.unwrap().is_some());
            }
            assert_eq!(sessions(&mut test, &name).await, 1, "{name}");
        }
        until_gone(&mut test, &name).await;
    }
    // A caller that goes away while it starts leaves nothing behind either.
    let mut other = sqlx::PgConnection::connect(&url()).await.unwrap();
    let lock = "BEGIN; LOCK TABLE extract_drop.endless IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    let scan = test.whole("silent").await;
    let locked = ScanSpec { table: test.table("endless"), columns: scan.columns, ..scan };
    let start = context("drop start");
    let starting = tokio::time::timeout(Duration::from_millis(300), test.warehouse.scan(&locked, &start));
    assert!(starting.await.is_err());
    until_gone(&mut test, "drop start").await;
    other.close().await.unwrap();
}

#[tokio::test]
async fn back_pressure_reaches_the_server_and_is_not_a_time_out() {
    let mut test = TestWarehouse::new("extract_pressure").await;
    test.run("CREATE TABLE t AS SELECT g::bigint AS id, repeat('x', 1000) AS text FROM generate_series(1, 60000) g")
        .await;
    let patience = ScanContext { first_row_timeout: Duration::from_millis(1_500), ..context("pressure") };
    let mut stream = test.warehouse.scan(&test.whole("t").await, &patience).await.unwrap();
    let mut rows = stream.next().await.unwrap().unwrap().num_rows();
    tokio::time::sleep(Duration::from_secs(3)).await;
    // It fills what lies between first.
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let waiting = test.texts("SELECT wait_event FROM pg_stat_activity WHERE application_name = 'pressure'").await;
        if waiting == [Some("ClientWrite".to_owned())] {
            break;
        }
        assert!(Instant::now() < deadline, "it waits for {waiting:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while let Some(batch) = stream.next().await.unwrap() {
        rows += batch.num_rows();
    }
    assert_eq!(rows, 60_000);
    until_gone(&mut test, "pressure").await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_time_out() {
    let mut test = TestWarehouse::new("extract_silence").await;
    test.run(
        "CREATE VIEW never AS SELECT 1::bigint AS id FROM pg_sleep(60);
         CREATE VIEW later AS SELECT id FROM (SELECT generate_series(1, 100000)::bigint AS id) g
           WHERE id < 50000 OR pg_sleep(60) IS NOT NULL",
    )
    .await;
    for view in ["never", "later"] {
        let patience =
            ScanContext { first_row_timeout: Duration::from_millis(700), ..context(&format!("silence {view}")) };
        let scan = test.whole(view).await;
        let error = match test.warehouse.scan(&scan, &patience).await {
            Err(error) => error,
            Ok(mut stream) => loop {
                match stream.next().await {
                    Ok(batch) => assert!(batch.is_some(), "a silent stream ended as if it were whole"),
                    Err(error) => break error,
                }
            },
        };
        assert_eq!(error.code(), ErrorCode::WarehouseTimeout, "{error}");
        assert!(error.to_string().contains(&format!("reading table 'extract_silence.{view}'")), "{error}");
        until_gone(&mut test, &patience.application_name).await;
    }
}

/// The error of a scan, wherever it comes.
async fn failure(test: &TestWarehouse, scan: &ScanSpec) -> WarehouseError {
    test.read(scan).await.unwrap_err()
}

#[tokio::test]
async fn what_changed_since_the_plan_is_said() {
    let mut test = TestWarehouse::new("extract_changed").await;
    test.run("CREATE TABLE t (id bigint, a text, b int); INSERT INTO t VALUES (1, 'x', 2)").await;
    let scan = test.whole("t").await;
    test.run("ALTER TABLE t DROP COLUMN a").await;
    let error = failure(&test, &scan).await;
    assert_eq!(error.code(), ErrorCode::SchemaChanged);
    assert!(error.to_string().contains("'a' of 'extract_changed.t' was planned as text and is now missing"), "{error}");
    test.run("ALTER TABLE t ADD COLUMN a text; ALTER TABLE t ALTER b TYPE bigint").await;
    let error = failure(&test, &scan).await;
    assert!(
        error.to_string().contains("'b' of 'extract_changed.t' was planned as integer and is now bigint"),
        "{error}"
    );
    test.run("DROP TABLE t").await;
    assert_eq!(failure(&test, &scan).await.code(), ErrorCode::TableNotFound);
    assert_eq!(test.warehouse.estimate(&scan).await.unwrap_err().code(), ErrorCode::TableNotFound);
}

#[tokio::test]
async fn no_error_holds_a_value() {
    let mut test = TestWarehouse::new("extract_canary").await;
    test.run(
        "CREATE TABLE t (id bigint, text text); INSERT INTO t SELECT g, 'chaffinch-7f3a' FROM generate_series(1, 50000) g;
         CREATE VIEW early AS SELECT text::bigint AS id FROM t;
         CREATE VIEW late AS SELECT CASE WHEN id < 50000 THEN id ELSE text::bigint END AS id FROM t",
    )
    .await;
    for view in ["early", "late"] {
        let error = failure(&test, &test.whole(view).await).await;
        assert!(error.to_string().contains("SQLSTATE 22P02"), "{error}");
        assert!(!format!("{error} {error:?}").contains("chaffinch"), "{error:?}");
    }
}

#[tokio::test]
async fn refusals_and_absences_have_their_codes() {
    let mut test = TestWarehouse::new("extract_denied").await;
    test.run(
        "CREATE TABLE t (id bigint); DROP ROLE IF EXISTS extract_reader; CREATE ROLE extract_reader LOGIN PASSWORD 'canary-pw';
         GRANT USAGE ON SCHEMA extract_denied TO extract_reader",
    )
    .await;
    let address = url::Url::parse(&url()).unwrap();
    let with = |change: &dyn Fn(&mut url::Url)| {
        let mut address = address.clone();
        change(&mut address);
        let options = PostgresOptions { connect_timeout: Duration::from_secs(2), ..PostgresOptions::default() };
        PostgresWarehouse::new(SecretString::from(address.to_string()), options).unwrap()
    };
    let reader = with(&|address| {
        address.set_username("extract_reader").unwrap();
        address.set_password(Some("canary-pw")).unwrap();
    });
    reader.check().await.unwrap();
    let error = reader.scan(&test.whole("t").await, &context("denied")).await.map(drop).unwrap_err();
    assert_eq!(error.code(), ErrorCode::WarehouseDenied, "{error}");
    assert!(error.to_string().contains("'extract_denied.t'"), "{error}");
    assert_eq!(reader.estimate(&test.whole("t").await).await.unwrap_err().code(), ErrorCode::WarehouseDenied);

    // A port that nobody listens on: bound and let go again.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (name, warehouse, code) in [
        ("role", with(&|address| address.set_username("extract_nobody").unwrap()), ErrorCode::WarehouseDenied),
        ("database", with(&|address| address.set_path("extract_nowhere")), ErrorCode::WarehouseDenied),
        ("port", with(&|address| address.set_port(Some(free)).unwrap()), ErrorCode::WarehouseUnavailable),
        (
            "host",
            with(&|address| address.set_host(Some("no.such.host.invalid")).unwrap()),
            ErrorCode::WarehouseUnavailable,
        ),
    ] {
        let error = warehouse.check().await.unwrap_err();
        assert_eq!(error.code(), code, "{name}: {error}");
        let error = warehouse.catalog(&[test.table("t")]).await.unwrap_err();
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(!format!("{error} {warehouse:?}").contains("canary-pw"));
    }
    assert!(PostgresWarehouse::new(SecretString::from("mysql://x".to_owned()), PostgresOptions::default()).is_err());
}

#[tokio::test]
async fn a_server_that_goes_away_in_mid_scan_is_unavailable() {
    let mut test = TestWarehouse::new("extract_away").await;
    test.run("CREATE VIEW endless AS SELECT generate_series(1, 1000000000)::bigint AS id").await;
    let mut stream = test.warehouse.scan(&test.whole("endless").await, &context("away")).await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    test.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'away'").await;
    let error = loop {
        match stream.next().await {
            Ok(batch) => assert!(batch.is_some(), "a broken stream ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), ErrorCode::WarehouseUnavailable, "{error}");
}

#[tokio::test]
async fn a_scan_cannot_write_and_sees_one_moment() {
    let mut test = TestWarehouse::new("extract_readonly").await;
    test.run(
        "CREATE TABLE t (id bigint);
         CREATE FUNCTION sneak() RETURNS bigint LANGUAGE sql VOLATILE AS 'INSERT INTO extract_readonly.t VALUES (1) RETURNING id';
         CREATE VIEW writer AS SELECT extract_readonly.sneak() AS id;
         CREATE TABLE many AS SELECT g::bigint AS id, repeat('x', 200) AS text FROM generate_series(1, 100000) g",
    )
    .await;
    let error = failure(&test, &test.whole("writer").await).await;
    assert_eq!(error.code(), ErrorCode::WarehouseDenied, "{error}");
    let mut stream = test.warehouse.scan(&test.whole("many").await, &context("moment")).await.unwrap();
    let mut rows = stream.next().await.unwrap().unwrap().num_rows();
    test.run("DELETE FROM many; INSERT INTO many SELECT g, 'later' FROM generate_series(1, 50000) g").await;
    while let Some(batch) = stream.next().await.unwrap() {
        rows += batch.num_rows();
    }
    assert_eq!(rows, 100_000);
}
