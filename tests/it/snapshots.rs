//! One moment for all files of a table, over several workers, while rows come and go; and what the manifest says when
//! its holder is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use data_exporter::pipeline::PipelineSettings;
use data_exporter::warehouse::postgres::PostgresOptions;
use data_exporter::warehouse::{ScanContext, Warehouse};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;

use crate::support::inprocess::{Running, Troubled};
use crate::support::offered::{files, manifest, offer, request, run};
use crate::support::platform::Platform;
use crate::support::s3;
use crate::support::warehouse::{TestWarehouse, context};

/// 2026-03-02, in seconds.
const WINDOW: (i64, i64) = (1_772_409_600, 1_772_496_000);

async fn worker(platform: &Platform) -> Running {
    let warehouse = Arc::new(Troubled::new(platform, PostgresOptions::default()));
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    let settings =
        PipelineSettings { partition_target_bytes: 128 << 10, concurrent_partitions: 1, ..PipelineSettings::default() };
    Running::with_settings(platform, warehouse, store, settings)
}

async fn number(pool: &PgPool, query: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(pool).await.unwrap()
}

/// Waits until a count is what it should be.
async fn until(pool: &PgPool, query: &str, wanted: impl Fn(i64) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !wanted(number(pool, query).await) {
        assert!(Instant::now() < deadline, "{query}: {}", number(pool, query).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const DONE: &str = "SELECT count(*) FROM export_job_partitions WHERE state = 'COMPLETED'";
const HELD: &str = "SELECT count(*) FROM export_snapshots WHERE ended_at IS NULL";
/// In the warehouse: transactions that only hold a snapshot.
const HOLDERS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'data-exporter % snapshot'";

/// What happens between the first partition and the others.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// Nothing: its holder lives.
    Held,
    /// The warehouse ends the holder's connection.
    Killed,
    /// The holder's process ends.
    Stopped,
    /// It was held for as long as it may.
    Old,
}

async fn export_while_rows_come_and_go(fate: Fate) {
    let platform = Platform::empty(&format!("snapshots_{fate:?}").to_lowercase()).await;
    run(
        &platform.warehouse,
        "CREATE TABLE moving AS SELECT g AS id, timestamptz '2026-03-02Z' + g * interval '5 s' AS at, repeat('x', 80) AS note
         FROM generate_series(0, 17279) AS g; CREATE INDEX ON moving (at); ANALYZE moving",
    )
    .await;
    offer(&platform, "moving", "timestamp", "UTC").await;
    // Only the first partition is due before the test says so.
    run(
        &platform.metadata,
        "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.ordinal > 0 THEN NEW.due_at := 'infinity'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER later BEFORE INSERT ON export_job_partitions FOR EACH ROW EXECUTE FUNCTION later()",
    )
    .await;
    let ids = "SELECT id::int8 FROM moving ORDER BY id";
    let before: Vec<i64> = sqlx::query_scalar(ids).fetch_all(&platform.warehouse).await.unwrap();

    let holder = worker(&platform).await;
    let job = request(&holder, &["moving"], WINDOW).await;
    until(&platform.metadata, DONE, |done| done == 1).await;
    assert_eq!(number(&platform.metadata, HELD).await, 1);
    assert_eq!(number(&platform.warehouse, HOLDERS).await, 1);
    // Rows of every slice go, and others come.
    run(
        &platform.warehouse,
        "DELETE FROM moving WHERE id % 2 = 0;
         INSERT INTO moving SELECT 100000 + id, at, note FROM moving WHERE id % 3 = 0",
    )
    .await;
    let after: Vec<i64> = sqlx::query_scalar(ids).fetch_all(&platform.warehouse).await.unwrap();

    let other = worker(&platform).await;
    match fate {
        Fate::Held => {}
        Fate::Killed => {
            let kill = HOLDERS.replace("count(*)", "count(pg_terminate_backend(pid))");
            assert_eq!(number(&platform.warehouse, &kill).await, 1);
            until(&platform.warehouse, HOLDERS, |holders| holders == 0).await;
        }
        Fate::Stopped => {}
        Fate::Old => {
            run(&platform.metadata, "UPDATE export_snapshots SET begun_at = begun_at - interval '1 day'").await;
            until(&platform.metadata, HELD, |held| held == 0).await;
        }
    }
    let mut holder = Some(holder);
    if fate == Fate::Stopped {
        holder.take().unwrap().stop().await;
        // Its server's process ends a moment after its connection.
        until(&platform.warehouse, HOLDERS, |holders| holders == 0).await;
    } else {
        // One after the other, until both workers have read one.
        let readers = "SELECT count(DISTINCT last_worker) FROM export_job_partitions WHERE state = 'COMPLETED'";
        let total = number(&platform.metadata, "SELECT count(*) FROM export_job_partitions").await;
        assert!(total > 8, "{total}");
        for done in 1..total {
            run(
                &platform.metadata,
                format!("UPDATE export_job_partitions SET due_at = clock_timestamp() WHERE ordinal = {done}"),
            )
            .await;
            until(&platform.metadata, DONE, |found| found > done).await;
            if number(&platform.metadata, readers).await == 2 {
                break;
            }
        }
        assert_eq!(number(&platform.metadata, readers).await, 2, "both read");
    }
    run(&platform.metadata, "UPDATE export_job_partitions SET due_at = clock_timestamp() WHERE state = 'PENDING'")
        .await;
    let view = other.finished(job).await;

    let said = manifest(&platform, &view, "moving").await;
    let found = files(&platform, &said).await;
    let all: Vec<i64> = {
        let mut all: Vec<i64> = found.iter().flat_map(|(ids, _)| ids.clone()).collect();
        all.sort_unstable();
        all
    };
    let consistency = said["export"]["consistency"].as_str().unwrap();
    if fate == Fate::Held {
        assert_eq!(consistency, "snapshot");
        assert!(all == before, "{} rows for {}", all.len(), before.len());
    } else {
        assert_eq!(consistency, "predicate");
        // The first file is of before, every other one of after; each holds what its range has.
        let first = &found[0].0;
        let mut want: Vec<i64> = after.into_iter().filter(|id| id % 100_000 > first[first.len() - 1]).collect();
        want.extend(first);
        want.sort_unstable();
        assert!(*first == before[..first.len()] && all == want, "{} rows for {}", all.len(), want.len());
    }
    // Nobody holds on when nobody needs it.
    until(&platform.metadata, HELD, |held| held == 0).await;
    until(&platform.warehouse, HOLDERS, |holders| holders == 0).await;
    if let Some(holder) = holder {
        holder.stop().await;
    }
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_two_workers_show_one_moment() {
    export_while_rows_come_and_go(Fate::Held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_holder_an_export_goes_on_and_the_manifest_says_so() {
    for fate in [Fate::Killed, Fate::Stopped, Fate::Old] {
        export_while_rows_come_and_go(fate).await;
    }
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_is_done_without() {
    let mut test = TestWarehouse::new("snapshot_import").await;
    test.run("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 10) AS g").await;
    let held = test.warehouse.hold_snapshot("snapshot_import holder", DateTime::UNIX_EPOCH).await.unwrap().unwrap();
    test.run("DELETE FROM t WHERE id > 3").await;
    let scan = test.whole("t").await;
    let good = held.token().to_owned();
    let (name, _) = good.split_once(' ').unwrap();
    let read = async |token: &str| {
        let context = ScanContext { snapshot: Some(token.to_owned()), ..context("snapshot_import") };
        let mut stream = test.warehouse.scan(&scan, &context).await.unwrap();
        let mut rows = 0;
        while let Some(batch) = stream.next().await.unwrap() {
            rows += batch.num_rows();
        }
        (stream.is_of_snapshot(), rows)
    };
    assert_eq!(read(&good).await, (true, 10));
    let restarted = format!("{name} 2020-01-01 00:00:00+00");
    for token in [restarted.as_str(), name, "", "nonsense", "00000009-00000001-1 2020-01-01", "'; DROP TABLE t; --"] {
        assert_eq!(read(token).await, (false, 3), "{token}");
    }
    held.release().await;
    // The snapshot is gone with its server's process, a moment after the connection.
    let deadline = Instant::now() + Duration::from_secs(40);
    while read(&good).await != (false, 3) {
        assert!(Instant::now() < deadline, "it can still be read");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
