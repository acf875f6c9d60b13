//! Exports from a real standby of a real primary: one that is idle, one that is behind, one that is cut off, and one whose
//! replay needs what is being read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use classification::{Predicate, TableName};
use data_exporter::error::ErrorCode;
use data_exporter::jobs::{FileChoice, JobId, JobState, JobView, NewRequest, Tenant};
use data_exporter::pipeline::PipelineSettings;
use data_exporter::storage::{ObjectKey, ObjectStore};
use data_exporter::warehouse::postgres::{PostgresOptions, PostgresWarehouse};
use data_exporter::warehouse::{
    BatchStream, Estimate, HeldSnapshot, Lag, ScanContext, ScanSpec, TableShape, TimeRange, TimeSlice, Warehouse,
    WarehouseError,
};
use serde_json::Value;
use sqlx::postgres::PgPool;

use crate::support::inprocess::Running;
use crate::support::platform::Platform;
use crate::support::standby::Pair;
use crate::support::{files, s3};

/// An hour that nobody exports, to be deleted, and five hours with two rows a second. They are written in the order of
/// their time: where rows of one time lie all over a table, an index saves nothing, and it is rightly not cut at all.
const SETUP: &[&str] = &[
    "CREATE TABLE event (id bigint, at timestamptz, text text)",
    "INSERT INTO event SELECT -g, timestamptz '2026-03-01 00:00Z' + g * interval '1 s', '' FROM generate_series(1, 3000) g",
    "INSERT INTO event SELECT g, timestamptz '2026-03-02 00:00Z' + g * interval '0.5 s', repeat(md5(g::text), 30)
       FROM generate_series(0, 35999) g",
    "CREATE INDEX ON event (at)",
    "ANALYZE event",
];

const RULES: &str = "INSERT INTO export_tables (table_name, time_column) VALUES ('event', 'at');
    INSERT INTO data_column_classification VALUES
        ('event', 'id', 'nr', NULL, NULL, NULL), ('event', 'at', 'nr', NULL, NULL, NULL),
        ('event', 'text', 'nr', 'test', 'digests', '2099-12-31')";

/// An installation whose warehouse is the standby.
async fn installation(name: &str, pair: &Pair) -> Platform {
    let mut platform = Platform::empty(name).await;
    sqlx::raw_sql(RULES).execute(&platform.metadata).await.unwrap();
    platform.warehouse_url.clone_from(&pair.standby_url);
    platform.warehouse = pair.primary.clone();
    platform
}

fn warehouse(pair: &Pair) -> PostgresWarehouse {
    PostgresWarehouse::new(pair.standby_url.as_str().into(), PostgresOptions::default()).unwrap()
}

/// A warehouse to which something happens while its first scan is read.
#[derive(Debug)]
struct Disturbed {
    inner: PostgresWarehouse,
    pair: Arc<Pair>,
    metadata: PgPool,
    /// The partitions that there were when it happened; none before.
    planned: Arc<AtomicI64>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair")
    }
}

#[async_trait]
impl Warehouse for Disturbed {
    async fn check(&self) -> Result<(), WarehouseError> {
        self.inner.check().await
    }

    async fn ready(&self, until: DateTime<Utc>) -> Result<(), WarehouseError> {
        self.inner.ready(until).await
    }

    async fn catalog(&self, tables: &[TableName]) -> Result<Vec<TableShape>, WarehouseError> {
        self.inner.catalog(tables).await
    }

    async fn estimate(&self, scan: &ScanSpec) -> Result<Estimate, WarehouseError> {
        self.inner.estimate(scan).await
    }

    async fn count(
        &self,
        table: &TableName,
        slice: Option<&TimeSlice>,
        conditions: &[Predicate],
    ) -> Result<Vec<i64>, WarehouseError> {
        self.inner.count(table, slice, conditions).await
    }

    async fn count_timeless(
        &self,
        table: &TableName,
        slice: &TimeSlice,
        condition: &Predicate,
    ) -> Result<i64, WarehouseError> {
        self.inner.count_timeless(table, slice, condition).await
    }

    async fn estimate_ranges(&self, scan: &ScanSpec, ranges: &[TimeRange]) -> Result<Vec<Estimate>, WarehouseError> {
        self.inner.estimate_ranges(scan, ranges).await
    }

    async fn seams(&self, scan: &ScanSpec) -> Result<Vec<DateTime<Utc>>, WarehouseError> {
        self.inner.seams(scan).await
    }

    async fn hold_snapshot(
        &self,
        name: &str,
        until: DateTime<Utc>,
    ) -> Result<Option<Box<dyn HeldSnapshot>>, WarehouseError> {
        self.inner.hold_snapshot(name, until).await
    }

    async fn scan(&self, scan: &ScanSpec, context: &ScanContext) -> Result<Box<dyn BatchStream>, WarehouseError> {
        let inner = self.inner.scan(scan, context).await?;
        let (pair, metadata) = (Arc::clone(&self.pair), self.metadata.clone());
        Ok(Box::new(DisturbedStream { inner, pair, metadata, planned: Arc::clone(&self.planned) }))
    }
}

struct DisturbedStream {
    inner: Box<dyn BatchStream>,
    pair: Arc<Pair>,
    metadata: PgPool,
    planned: Arc<AtomicI64>,
}

#[async_trait]
impl BatchStream for DisturbedStream {
    fn schema(&self) -> arrow::datatypes::SchemaRef {
        self.inner.schema()
    }

    fn is_of_snapshot(&self) -> bool {
        self.inner.is_of_snapshot()
    }

    async fn next(&mut self) -> Result<Option<arrow::record_batch::RecordBatch>, WarehouseError> {
        let batch = self.inner.next().await?;
        if self.planned.load(Ordering::SeqCst) == 0 {
            self.planned.store(number(&self.metadata, PARTITIONS).await, Ordering::SeqCst);
            // In the middle of the COPY: the standby is sent that rows are gone which the scan's snapshot still has.
            self.pair.run(&["DELETE FROM event WHERE at < '2026-03-02 00:00Z'", "VACUUM event"]).await;
            self.pair.received().await;
            // It waits for as long as it is told to, and then it ends the scan: at its next row, so not before this returns.
            let waits = "EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'RecoveryConflictSnapshot')";
            self.pair.until(waits).await;
            // Between two looks at its clock it shows nothing for a moment.
            let (mut quiet, deadline) = (0, Instant::now() + Duration::from_secs(60));
            while quiet < 10 {
                assert!(Instant::now() < deadline, "it waits for ever");
                quiet = if self.pair.holds(waits).await { 0 } else { quiet + 1 };
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(batch)
    }
}

async fn submit(running: &Running, start: i64, end: i64) -> JobId {
    let request = NewRequest {
        tenant: Tenant::default(),
        requested_by: "test".to_owned(),
        start,
        end,
        tables: None,
        files: FileChoice::default(),
        idempotency_key: None,
    };
    running.requests.submit(&request).await.unwrap()
}

/// The ids in the files of a job, in the order of its files, and what its manifest says of them.
async fn exported(platform: &Platform, view: &JobView) -> (Vec<i64>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let paths = files::fetch(platform, view, "event", folder.path()).await;
    let contents = files::read(&paths);
    let ids = contents.iter().flat_map(|content| {
        let id = content.columns.iter().position(|column| column == "id").unwrap();
        content.rows.iter().map(move |row| row[id].as_ref().unwrap().parse().unwrap())
    });
    let ids = ids.collect();
    let directory = view.tables[0].files[0].key.rsplit_once('/').unwrap().0;
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let manifest = store.get(&ObjectKey::new(format!("{directory}/manifest")).unwrap()).await.unwrap();
    (ids, serde_json::from_slice(&manifest).unwrap())
}

/// What the primary has of a range.
async fn oracle(primary: &PgPool, start: i64, end: i64) -> BTreeSet<i64> {
    let sql = "SELECT id FROM event WHERE at >= to_timestamp($1) AND at < to_timestamp($2)";
    let ids: Vec<i64> = sqlx::query_scalar(sql).bind(start as f64).bind(end as f64).fetch_all(primary).await.unwrap();
    ids.into_iter().collect()
}

async fn number(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

const DAY: i64 = 1_772_409_600;
const PARTITIONS: &str = "SELECT count(*) FROM export_job_partitions";

#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_in_the_middle_of_a_copy_cuts_the_partition_and_costs_no_attempt() {
    let pair = Arc::new(Pair::start(&["max_standby_streaming_delay=5s"]).await);
    pair.run(SETUP).await;
    pair.replayed().await;
    let platform = installation("standby_vacuum", &pair).await;
    let planned = Arc::new(AtomicI64::new(0));
    let (inner, metadata) = (warehouse(&pair), platform.metadata.clone());
    let disturbed = Disturbed { inner, pair: Arc::clone(&pair), metadata, planned: Arc::clone(&planned) };
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    // More than sockets hold, and one scan at a time.
    let stages =
        PipelineSettings { partition_target_bytes: 20 << 20, concurrent_partitions: 1, ..PipelineSettings::default() };
    let running = Running::with_settings(&platform, Arc::new(disturbed), store, stages);
    let job = submit(&running, DAY, DAY + 18_000).await;
    let view = running.finished(job).await;
    running.stop().await;
    assert_eq!(view.state, JobState::Completed, "{view:?}");
    // What a server counts it shows a moment later.
    pair.until("(SELECT sum(confl_snapshot) > 0 FROM pg_stat_database_conflicts)").await;

    // Rows exactly as the primary has them, in files whose numbers follow time.
    let (ids, manifest) = exported(&platform, &view).await;
    let expected = oracle(&pair.primary, DAY, DAY + 18_000).await;
    assert_eq!(ids.len(), expected.len());
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), expected);
    let entries = manifest["entries"].as_array().unwrap();
    for (number, entry) in entries.iter().enumerate() {
        assert_eq!(entry["name"], format!("event_{number:03}.parquet"), "{manifest}");
    }
    let windows: Vec<_> =
        entries.iter().map(|entry| (entry["window"][0].clone(), entry["window"][1].clone())).collect();
    assert!(windows.windows(2).all(|pair| pair[0].1 == pair[1].0), "{windows:?}");
    assert_eq!(
        (&windows[0].0, &windows.last().unwrap().1),
        (&"2026-03-02T00:00:00Z".into(), &"2026-03-02T05:00:00Z".into())
    );

    // The standby's planner knew how much there is: 36 MB in files of 20. The first of them was cut into four, and
    // nothing counts as an attempt but what brought a file.
    let (planned, now, conflicts) = (
        planned.load(Ordering::SeqCst),
        number(&platform.metadata, PARTITIONS).await,
        number(&platform.metadata, "SELECT sum(conflicts)::int8 FROM export_job_partitions").await,
    );
    assert_eq!((planned, now, conflicts), (2, 5, 4), "partitions before and after, and conflicts");
    assert_eq!(number(&platform.metadata, "SELECT max(attempts)::int8 FROM export_job_partitions").await, 1);
    assert_eq!(number(&platform.metadata, "SELECT attempts::int8 FROM table_export_job_statuses").await, now);
    let counted = "SELECT partitions_total::int8 FROM export_job_tables WHERE partitions_done = partitions_total";
    assert_eq!(number(&platform.metadata, counted).await, now);
}

/// Waits until a job says that it waits, and gives what for.
async fn waiting(running: &Running, job: JobId) -> (String, String) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let view = running.view(job).await;
        assert!(!view.state.is_final(), "{view:?}");
        if let Some(pause) = view.pause {
            assert!(pause.until > view.read_at);
            return (pause.why.code, pause.why.message);
        }
        assert!(Instant::now() < deadline, "it does not wait: {view:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The first whole second after the last commit that the standby has replayed, once the clocks have come to it.
async fn after_what_is_replayed(pair: &Pair, metadata: &PgPool) -> i64 {
    let replayed = "SELECT floor(extract(epoch FROM pg_last_xact_replay_timestamp()))::int8 + 1";
    let end: i64 = sqlx::query_scalar(replayed).fetch_one(&pair.standby).await.unwrap();
    for pool in [metadata, &pair.standby, &pair.primary] {
        while number(pool, "SELECT extract(epoch FROM clock_timestamp())::int8 - 1").await < end {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    end
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_until_the_end_of_its_range_is_replayed_and_can_be_cancelled_meanwhile() {
    let pair = Pair::start(&[]).await;
    pair.run(SETUP).await;
    pair.replayed().await;
    let platform = installation("standby_paused", &pair).await;
    let running = Running::start(&platform, Arc::new(warehouse(&pair))).await;

    // An idle primary: its last commit is before the end of the range, and nothing is missing.
    let end = after_what_is_replayed(&pair, &platform.metadata).await;
    let idle = running.finished(submit(&running, end - 600, end).await).await;
    assert_eq!((idle.state, idle.tables[0].rows), (JobState::Completed, 0), "{idle:?}");
    assert_eq!(warehouse(&pair).health().await.unwrap().unwrap().lag, Lag::Behind(Duration::ZERO));

    // Rows that the primary has and the standby has not.
    pair.pause().await;
    let late = format!(
        "INSERT INTO event SELECT 1000000 + g, to_timestamp({end} - 1 - g), 'late' FROM generate_series(0, 99) g"
    );
    pair.run(&[&late]).await;
    pair.received().await;
    let job = submit(&running, end - 600, end).await;
    let other = submit(&running, end - 700, end).await;
    for job in [job, other] {
        let (code, message) = waiting(&running, job).await;
        assert_eq!(code, "REPLICA_BEHIND");
        assert!(message.contains("the range ends at") && message.contains("its replay is paused"), "{message}");
    }
    let cancelled = running.requests.cancel(&Tenant::default(), other, "test").await.unwrap().unwrap();
    assert_eq!(cancelled.state, JobState::Cancelled);
    // It goes on waiting however often it is looked at.
    let looked: i64 = number(&platform.metadata, "SELECT max(lease_epoch) FROM export_jobs").await;
    while number(&platform.metadata, "SELECT max(lease_epoch) FROM export_jobs").await < looked + 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    waiting(&running, job).await;
    assert_eq!(number(&platform.metadata, "SELECT count(*) FROM export_job_partitions AS p JOIN export_jobs AS j ON j.id = p.job_id AND j.state = 'PLANNING'").await, 0);

    pair.resume().await;
    let view = running.finished(job).await;
    assert_eq!(view.state, JobState::Completed, "{view:?}");
    let (ids, _) = exported(&platform, &view).await;
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), (1_000_000..1_000_100).collect());
    assert_eq!(ids.len(), 100);
    assert!(view.pause.is_none());
    let attempts = "SELECT max(attempts)::int8 FROM export_jobs WHERE state = 'COMPLETED'";
    assert_eq!(number(&platform.metadata, attempts).await, 1, "waiting is no attempt");
    assert_eq!(number(&platform.metadata, "SELECT max(attempts)::int8 FROM export_job_partitions").await, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scan_asks_its_own_server_and_one_that_is_cut_off_proves_nothing() {
    let mut pair = Pair::start(&[]).await;
    pair.run(SETUP).await;
    pair.replayed().await;
    let warehouse = warehouse(&pair);
    let end = after_what_is_replayed(&pair, &pair.primary).await;
    let ready = |until: i64| {
        let until = DateTime::from_timestamp(until, 0).unwrap();
        let warehouse = &warehouse;
        async move { warehouse.ready(until).await.map_err(|error| (error.code(), error.to_string())) }
    };
    ready(end).await.unwrap();
    // The clock of the standby has not come there.
    assert_eq!(ready(end + 3_600).await.unwrap_err().0, ErrorCode::ReplicaBehind);

    pair.lose_primary();
    pair.until("NOT EXISTS (SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming')").await;
    ready(end - 60).await.unwrap();
    let (code, message) = ready(end).await.unwrap_err();
    assert_eq!(code, ErrorCode::ReplicaBehind);
    assert!(message.contains("not connected to its primary"), "{message}");
    // A scan asks for itself, whatever was known when it was planned.
    let mut scan = crate::support::warehouse::whole_of(&warehouse, "event").await;
    let slice = |until: i64| TimeSlice {
        column: "at".to_owned(),
        unit: data_exporter::warehouse::TimeUnit::Timestamp,
        zone: "UTC".to_owned(),
        start: DateTime::from_timestamp(DAY, 0).unwrap(),
        end: DateTime::from_timestamp(until, 0).unwrap(),
    };
    let context = crate::support::warehouse::context("standby scan");
    scan.slice = Some(slice(end));
    assert_eq!(warehouse.scan(&scan, &context).await.map(drop).unwrap_err().code(), ErrorCode::ReplicaBehind);
    scan.slice = Some(slice(DAY + 60));
    let mut stream = warehouse.scan(&scan, &context).await.unwrap();
    let mut rows = 0;
    while let Some(batch) = stream.next().await.unwrap() {
        rows += batch.num_rows();
    }
    assert_eq!(rows, 120);
}
