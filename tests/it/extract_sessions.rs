//! The sessions that a warehouse sees: how many, under which name, what they may do and for how long, and how they end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use classification::Predicate;
use data_exporter::jobs::{JobState, Tenant};
use data_exporter::warehouse::Warehouse;
use data_exporter::warehouse::postgres::{PostgresOptions, PostgresWarehouse};

use crate::support::inprocess::{Running, Silence, Troubled};
use crate::support::platform::Platform;
use crate::support::warehouse::{TestWarehouse, context, url};

/// The sessions of this name, by process.
async fn sessions(test: &mut TestWarehouse, name: &str) -> Vec<Option<String>> {
    test.texts(format!("SELECT pid::text FROM pg_stat_activity WHERE application_name = '{name}' ORDER BY pid")).await
}

#[tokio::test]
async fn scans_have_so_many_connections_and_none_is_used_twice() {
    let mut test = TestWarehouse::new("sessions_bound").await;
    test.run("CREATE VIEW endless AS SELECT generate_series(1, 1000000000)::bigint AS id").await;
    let options = PostgresOptions { max_connections: 2, ..PostgresOptions::default() };
    let warehouse = PostgresWarehouse::new(url().into(), options).unwrap();
    let (scan, name) = (test.whole("endless").await, "sessions bound");
    let patient = context(name);
    let mut first = warehouse.scan(&scan, &patient).await.unwrap();
    let _second = warehouse.scan(&scan, &patient).await.unwrap();
    assert!(first.next().await.unwrap().is_some());
    let before = sessions(&mut test, name).await;
    assert_eq!(before.len(), 2);
    let mut third = Box::pin(warehouse.scan(&scan, &patient));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut third).await.is_err(), "a third connection");
    assert_eq!(sessions(&mut test, name).await, before);
    // In the middle of its COPY: its server's process ends, and the next scan meets another one.
    drop(first);
    let mut third = third.await.unwrap();
    assert!(third.next().await.unwrap().is_some());
    let deadline = Instant::now() + Duration::from_secs(20);
    let after = loop {
        let now = sessions(&mut test, name).await;
        if now.len() == 2 {
            break now;
        }
        assert!(Instant::now() < deadline, "{now:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(after.iter().filter(|pid| before.contains(pid)).count(), 1, "{before:?} {after:?}");
}

#[tokio::test]
async fn sessions_may_read_and_only_questions_are_bounded_in_time() {
    let mut test = TestWarehouse::new("sessions_settings").await;
    // What a session says of itself.
    test.run(
        "CREATE VIEW told AS SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN
           ('transaction_read_only', 'default_transaction_read_only', 'transaction_isolation', 'statement_timeout',
            'application_name')",
    )
    .await;
    let options = PostgresOptions { statement_timeout: Duration::from_secs(7), ..PostgresOptions::default() };
    let warehouse = PostgresWarehouse::new(url().into(), options).unwrap();
    let scan = test.whole("told").await;
    let mut stream = warehouse.scan(&scan, &context("data-exporter of a test")).await.unwrap();
    let batch = stream.next().await.unwrap().unwrap();
    let (names, settings) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
    let told: BTreeMap<_, _> = names.iter().flatten().zip(settings.iter().flatten()).collect();
    let expected = [
        ("application_name", "data-exporter of a test"),
        ("default_transaction_read_only", "on"),
        ("statement_timeout", "0"),
        ("transaction_isolation", "repeatable read"),
        ("transaction_read_only", "on"),
    ];
    assert_eq!(told, BTreeMap::from(expected));

    let is = |name: &str, setting: &str| {
        let is =
            |column: &str, value: &str| Predicate::In { column: column.to_owned(), values: [value.to_owned()].into() };
        Predicate::All(vec![is("name", name), is("setting", setting)])
    };
    let conditions =
        [is("statement_timeout", "7000"), is("transaction_read_only", "on"), is("application_name", "data-exporter")];
    assert_eq!(warehouse.count(&test.table("told"), None, &conditions).await.unwrap(), [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_bears_the_name_of_its_job_and_ends_with_it() {
    let platform = Platform::sample("sessions_named", 2_000).await;
    let mut warehouse = Troubled::new(&platform, PostgresOptions::default());
    warehouse.silent = Some(Silence { table: "vms".parse().unwrap(), scans: usize::MAX, batches: 0 });
    let worker = Running::start(&platform, Arc::new(warehouse)).await;
    let job = worker.request(&["vms"]).await;
    let until = async |sessions: i64| {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let found: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()",
            )
            .bind(format!("data-exporter {job}"))
            .fetch_one(&platform.warehouse)
            .await
            .unwrap();
            if found == sessions {
                break;
            }
            assert!(Instant::now() < deadline, "{found} sessions of {job}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until(1).await;
    worker.requests.cancel(&Tenant::default(), job, "somebody").await.unwrap().unwrap();
    until(0).await;
    assert_eq!(worker.finished(job).await.state, JobState::Cancelled);
    worker.stop().await;
}
