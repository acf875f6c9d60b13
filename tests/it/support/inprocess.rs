//! A worker in the test's own process, so that a test can put something of its own between the stages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use classification::actions::Pseudonymiser;
use classification::{Predicate, TableName};
use data_exporter::jobs::{FileChoice, Heartbeat, JobId, JobView, NewRequest, Queue, QueueSettings, Requests, Tenant};
use data_exporter::pipeline::{Layout, Pipeline, PipelineSettings, Worker};
use data_exporter::storage::ObjectStore;
use data_exporter::warehouse::postgres::{PostgresOptions, PostgresWarehouse};
use data_exporter::warehouse::{
    BatchStream, Estimate, HeldSnapshot, ScanContext, ScanSpec, TableShape, TimeRange, TimeSlice, Warehouse,
    WarehouseError,
};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::platform::{Platform, day_range};
use super::s3;

/// A warehouse that something happens to.
#[derive(Debug)]
pub(crate) struct Troubled {
    inner: PostgresWarehouse,
    sql: PgPool,
    /// Run once, before the first scan.
    pub(crate) before_scan: Option<String>,
    ran: AtomicBool,
    /// Scans of this table that find the warehouse away.
    pub(crate) away: Option<(TableName, usize)>,
    scans: AtomicUsize,
    /// Scans that fall silent.
    pub(crate) silent: Option<Silence>,
    silenced: AtomicUsize,
}

/// Which scans fall silent, and when.
#[derive(Debug)]
pub(crate) struct Silence {
    pub(crate) table: TableName,
    /// The first so many scans of it.
    pub(crate) scans: usize,
    /// What they give before. With the last batch of a table its connection ends; before the first, it stays open
    /// whatever the table's size.
    pub(crate) batches: usize,
}

impl Troubled {
    pub(crate) fn new(platform: &Platform, options: PostgresOptions) -> Self {
        let url = platform.warehouse_url.as_str().into();
        Self {
            inner: PostgresWarehouse::new(url, options).unwrap(),
            sql: platform.warehouse.clone(),
            before_scan: None,
            ran: AtomicBool::new(false),
            away: None,
            scans: AtomicUsize::new(0),
            silent: None,
            silenced: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl Warehouse for Troubled {
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

    async fn estimate_ranges(&self, scan: &ScanSpec, ranges: &[TimeRange]) -> Result<Vec<Estimate>, WarehouseError> {
        self.inner.estimate_ranges(scan, ranges).await
    }

    async fn seams(&self, scan: &ScanSpec) -> Result<Vec<DateTime<Utc>>, WarehouseError> {
        self.inner.seams(scan).await
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

    async fn hold_snapshot(
        &self,
        name: &str,
        until: DateTime<Utc>,
    ) -> Result<Option<Box<dyn HeldSnapshot>>, WarehouseError> {
        self.inner.hold_snapshot(name, until).await
    }

    async fn scan(&self, scan: &ScanSpec, context: &ScanContext) -> Result<Box<dyn BatchStream>, WarehouseError> {
        if let Some(statement) = &self.before_scan
            && !self.ran.swap(true, Ordering::SeqCst)
        {
            sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&self.sql).await.unwrap();
        }
        if let Some((table, times)) = &self.away
            && scan.table == *table
            && self.scans.fetch_add(1, Ordering::SeqCst) < *times
        {
            return Err(WarehouseError::Unavailable { detail: "connection refused".to_owned() });
        }
        let stream = self.inner.scan(scan, context).await?;
        if let Some(Silence { table, scans, batches }) = &self.silent
            && scan.table == *table
            && self.silenced.fetch_add(1, Ordering::SeqCst) < *scans
        {
            return Ok(Box::new(Silent { inner: stream, left: *batches }));
        }
        Ok(stream)
    }
}

/// So many batches, and then nothing.
struct Silent {
    inner: Box<dyn BatchStream>,
    left: usize,
}

#[async_trait]
impl BatchStream for Silent {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, WarehouseError> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => std::future::pending().await,
        }
        self.inner.next().await
    }
}

/// A running worker; stopped when it is dropped.
pub(crate) struct Running {
    pub(crate) requests: Requests,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Running {
    /// A worker over this warehouse and the platform's bucket.
    pub(crate) async fn start(platform: &Platform, warehouse: Arc<dyn Warehouse>) -> Self {
        let store = platform.s3.store(s3::BUCKET).await.unwrap();
        Self::with(platform, warehouse, Arc::new(store))
    }

    pub(crate) fn with(platform: &Platform, warehouse: Arc<dyn Warehouse>, store: Arc<dyn ObjectStore>) -> Self {
        Self::with_key(platform, warehouse, store, None)
    }

    /// With a key for pseudonyms.
    pub(crate) fn with_key(
        platform: &Platform,
        warehouse: Arc<dyn Warehouse>,
        store: Arc<dyn ObjectStore>,
        pseudonyms: Option<Pseudonymiser>,
    ) -> Self {
        Self::with_all(platform, warehouse, store, pseudonyms, PipelineSettings::default())
    }

    /// With stages of these settings.
    pub(crate) fn with_settings(
        platform: &Platform,
        warehouse: Arc<dyn Warehouse>,
        store: Arc<dyn ObjectStore>,
        stages: PipelineSettings,
    ) -> Self {
        Self::with_all(platform, warehouse, store, None, stages)
    }

    fn with_all(
        platform: &Platform,
        warehouse: Arc<dyn Warehouse>,
        store: Arc<dyn ObjectStore>,
        pseudonyms: Option<Pseudonymiser>,
        stages: PipelineSettings,
    ) -> Self {
        let settings = QueueSettings::default();
        let pipeline = Pipeline {
            queue: Queue::new(platform.metadata.clone(), settings),
            rules: platform.rules(),
            warehouse,
            store,
            layout: Layout::new("dev"),
            pseudonyms,
            settings: PipelineSettings {
                retry_pause: Duration::from_millis(50),
                standby_pause: Duration::from_millis(300),
                ..stages
            },
        };
        let heartbeat = Heartbeat::start(platform.metadata_url.parse().unwrap(), settings).unwrap();
        let worker = Worker::new(pipeline, heartbeat);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { worker.run(stopped).await });
        Self { requests: Requests::new(platform.metadata.clone()), stop, task: Some(task) }
    }

    /// Requests the sample's last day of these tables, or of all.
    pub(crate) async fn request(&self, tables: &[&str]) -> JobId {
        self.request_in(tables, FileChoice::default()).await
    }

    /// As [`Running::request`], with a form of files.
    pub(crate) async fn request_in(&self, tables: &[&str], files: FileChoice) -> JobId {
        let (start, end) = day_range();
        let request = NewRequest {
            tenant: Tenant::default(),
            requested_by: "test".to_owned(),
            start,
            end,
            tables: (!tables.is_empty()).then(|| tables.iter().map(|&table| table.to_owned()).collect()),
            files,
            idempotency_key: None,
        };
        self.requests.submit(&request).await.unwrap()
    }

    pub(crate) async fn view(&self, job: JobId) -> JobView {
        self.requests.find(&Tenant::default(), job).await.unwrap().unwrap()
    }

    /// Waits for the end of a job; progress never falls on the way.
    pub(crate) async fn finished(&self, job: JobId) -> JobView {
        let deadline = Instant::now() + Duration::from_secs(120);
        let mut progress = 0.0;
        loop {
            let view = self.view(job).await;
            assert!(view.progress >= progress, "progress fell from {progress} to {}", view.progress);
            progress = view.progress;
            if view.state.is_final() {
                return view;
            }
            assert!(Instant::now() < deadline, "still {view:?}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
