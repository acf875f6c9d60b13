//! Who a scan says it is, and whom it believes: passwords of every kind, TLS of every mode, against a real server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use classification::rules::TypeProfile;
use classification::{ColumnKind, PolicyColumn, Predicate};
use data_exporter::error::ErrorCode;
use data_exporter::warehouse::postgres::{PostgresOptions, PostgresWarehouse};
use data_exporter::warehouse::{ScanSpec, Warehouse, WarehouseError};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use secrecy::SecretString;
use sqlx::{Connection, PgConnection};

use crate::support::secured::{PASSWORD, Secured};
use crate::support::warehouse::context;

/// A scan of the column `id`.
fn scan(table: &str) -> ScanSpec {
    let column = PolicyColumn {
        name: "id".to_owned(),
        sql_type: "bigint".to_owned(),
        kind: ColumnKind::Number,
        cell: Predicate::Always,
        care: Vec::new(),
        scan: false,
    };
    ScanSpec {
        table: table.parse().unwrap(),
        columns: vec![column],
        rows: Predicate::Always,
        guards: Vec::new(),
        slice: None,
        type_profile: TypeProfile::Portable,
        options: BTreeMap::new(),
    }
}

/// How many numbers this address reads.
async fn numbers(url: &str) -> Result<usize, WarehouseError> {
    let warehouse = PostgresWarehouse::new(SecretString::from(url), PostgresOptions::default()).unwrap();
    warehouse.check().await?;
    let mut stream = warehouse.scan(&scan("public.numbers"), &context("login")).await?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await? {
        rows += batch.num_rows();
    }
    Ok(rows)
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn every_way_to_log_in_that_is_known_works_and_refuses() {
    let server = Secured::start(&PKCS_ECDSA_P256_SHA256).await;
    let port = server.port;
    let right = encoded(PASSWORD);
    for mode in ["disable", "require"] {
        for (user, password, works) in [
            ("by_trust", "", true),
            ("by_md5", right.as_str(), true),
            ("by_scram", right.as_str(), true),
            ("by_cleartext", right.as_str(), true),
            ("by_md5", "wrong", false),
            ("by_scram", "wrong", false),
            ("by_cleartext", "wrong", false),
            ("by_scram", "", false),
            ("by_nothing", right.as_str(), false),
            ("nobody", right.as_str(), false),
        ] {
            let url = format!("postgres://{user}:{password}@localhost:{port}/postgres?sslmode={mode}");
            match numbers(&url).await {
                Ok(rows) => assert!(works && rows == 1000, "{user} with {password:?}, {mode}"),
                Err(error) => {
                    assert!(!works, "{user} with {password:?}, {mode}: {error}");
                    assert_eq!(error.code(), ErrorCode::WarehouseDenied, "{user}, {mode}: {error}");
                    assert!(!error.to_string().contains("wrong"), "{error}");
                }
            }
        }
    }
    // A socket of the machine: no TLS there, as `require` finds out.
    let socket = encoded(&server.socket());
    assert_eq!(numbers(&format!("postgres://by_trust@{socket}:{port}/postgres")).await.unwrap(), 1000);
    let error = numbers(&format!("postgres://by_trust@{socket}:{port}/postgres?sslmode=require")).await.unwrap_err();
    assert!(error.to_string().contains("does not offer it"), "{error}");
    // A database that does not exist is the server's own refusal.
    let error = numbers(&format!("postgres://by_trust@localhost:{port}/nowhere")).await.unwrap_err();
    assert!(error.to_string().contains("3D000"), "{error}");
}

#[tokio::test]
async fn certificates_are_believed_as_the_mode_says() {
    let server = Secured::start(&PKCS_ECDSA_P384_SHA384).await;
    let (root, stranger) = (server.file("root.pem"), server.file("stranger.pem"));
    let login = format!("by_scram:{}", encoded(PASSWORD));
    for (host, mode, certificate, works) in [
        ("localhost", "prefer", None, true),
        ("localhost", "require", None, true),
        ("localhost", "require", Some(&stranger), true),
        ("localhost", "verify-ca", Some(&root), true),
        ("127.0.0.1", "verify-ca", Some(&root), true),
        ("localhost", "verify-full", Some(&root), true),
        ("127.0.0.1", "verify-full", Some(&root), false),
        ("localhost", "verify-ca", Some(&stranger), false),
        ("localhost", "verify-full", Some(&stranger), false),
        ("localhost", "verify-ca", None, false),
        ("localhost", "verify-full", None, false),
    ] {
        let certificate = certificate.map(|path| format!("&sslrootcert={}", encoded(path))).unwrap_or_default();
        let url = format!("postgres://{login}@{host}:{}/postgres?sslmode={mode}{certificate}", server.port);
        match numbers(&url).await {
            Ok(rows) => assert!(works && rows == 1000, "{url}"),
            Err(error) => {
                assert!(!works, "{url}: {error}");
                assert!(error.to_string().contains("certificate is not trusted"), "{url}: {error}");
            }
        }
        // What sqlx, which looks at the catalog, makes of the same address.
        assert_eq!(PgConnection::connect(&url).await.is_ok(), works, "{url}");
    }
    // Our own certificate.
    let ours =
        format!("sslcert={}&sslkey={}", encoded(&server.file("client.pem")), encoded(&server.file("client.key")));
    let url = format!("postgres://by_certificate@localhost:{}/postgres?sslmode=require", server.port);
    assert_eq!(numbers(&format!("{url}&{ours}")).await.unwrap(), 1000);
    assert_eq!(numbers(&url).await.unwrap_err().code(), ErrorCode::WarehouseDenied);
}

/// The request to end a query travels as the query did: a server that only knows TLS hears it too.
#[tokio::test]
async fn a_dropped_scan_is_ended_over_tls_and_over_a_socket() {
    let server = Secured::start(&PKCS_ECDSA_P256_SHA256).await;
    let port = server.port;
    for url in [
        format!("postgres://by_trust@localhost:{port}/postgres?sslmode=require"),
        format!("postgres://by_trust@{}:{port}/postgres", encoded(&server.socket())),
    ] {
        let warehouse = PostgresWarehouse::new(SecretString::from(url.clone()), PostgresOptions::default()).unwrap();
        let mut stream = warehouse.scan(&scan("public.first_then_silent"), &context("login drop")).await.unwrap();
        // Until the server has nothing left to write: with rows on their way it would notice a closed socket itself.
        let mut batches = 0;
        let patience = |batches| Duration::from_secs(if batches == 0 { 20 } else { 1 });
        while let Ok(batch) = tokio::time::timeout(patience(batches), stream.next()).await {
            assert!(batch.unwrap().is_some());
            batches += 1;
        }
        assert!(batches > 0);
        drop(stream);
        let mut sql = PgConnection::connect(&url).await.unwrap();
        let start = Instant::now();
        loop {
            let running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'login drop'";
            let running: i64 = sqlx::query_scalar(running).fetch_one(&mut sql).await.unwrap();
            if running == 0 {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "the query still runs: {url}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A signature without a hash of its own: nothing to bind the proof of the password to.
#[tokio::test]
async fn a_certificate_that_cannot_be_bound_to_is_no_obstacle() {
    let server = Secured::start(&PKCS_ED25519).await;
    let login = format!("by_scram:{}", encoded(PASSWORD));
    let root = encoded(&server.file("root.pem"));
    let url = format!("postgres://{login}@localhost:{}/postgres?sslmode=verify-full&sslrootcert={root}", server.port);
    assert_eq!(numbers(&url).await.unwrap(), 1000);
}
