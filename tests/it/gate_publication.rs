//! The last gate in a whole export: what it refuses is not published, is told, and is deleted; while it reads, its
//! lease holds and the process can be stopped.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use data_exporter::jobs::{Compression, ExportFormat, FileChoice, JobState, TableState};
use data_exporter::pipeline::PipelineSettings;
use data_exporter::storage::s3::S3Store;
use data_exporter::storage::{
    ObjectKey, ObjectMeta, ObjectStore, PresignedLink, PutOutcome, StorageError, UploadId, UploadedPart,
};
use data_exporter::warehouse::postgres::PostgresOptions;
use sqlx::AssertSqlSafe;

use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::Platform;
use crate::support::s3;

const ROWS: u64 = 4_000;

/// A store that takes its time over what the gate reads, every range of a staged object, and may never answer once it
/// has written a manifest.
#[derive(Debug)]
struct Slow {
    inner: S3Store,
    pause: Duration,
    reads: Arc<AtomicUsize>,
    silent_after_manifest: bool,
}

#[async_trait]
impl ObjectStore for Slow {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }
    async fn check(&self) -> Result<(), StorageError> {
        self.inner.check().await
    }
    async fn put_if_absent(&self, key: &ObjectKey, body: Bytes, kind: &str) -> Result<PutOutcome, StorageError> {
        let done = self.inner.put_if_absent(key, body, kind).await;
        if self.silent_after_manifest {
            std::future::pending::<()>().await;
        }
        done
    }
    async fn replace(&self, key: &ObjectKey, etag: &str, body: Bytes, kind: &str) -> Result<PutOutcome, StorageError> {
        self.inner.replace(key, etag, body, kind).await
    }
    async fn get(&self, key: &ObjectKey) -> Result<Bytes, StorageError> {
        self.inner.get(key).await
    }
    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.pause).await;
        self.inner.get_range(key, range).await
    }
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StorageError> {
        self.inner.head(key).await
    }
    async fn copy(&self, from: &ObjectKey, etag: &str, to: &ObjectKey) -> Result<(), StorageError> {
        self.inner.copy(from, etag, to).await
    }
    async fn open_uploads(&self, key: &ObjectKey) -> Result<Vec<UploadId>, StorageError> {
        self.inner.open_uploads(key).await
    }
    async fn list(&self, folder: &ObjectKey) -> Result<Vec<String>, StorageError> {
        self.inner.list(folder).await
    }
    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.inner.delete(key).await
    }
    async fn create_multipart(&self, key: &ObjectKey, kind: &str) -> Result<UploadId, StorageError> {
        self.inner.create_multipart(key, kind).await
    }
    async fn upload_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: u16,
        body: Bytes,
    ) -> Result<UploadedPart, StorageError> {
        self.inner.upload_part(key, upload, number, body).await
    }
    async fn complete_multipart(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[UploadedPart],
        size: u64,
    ) -> Result<ObjectMeta, StorageError> {
        self.inner.complete_multipart(key, upload, parts, size).await
    }
    async fn abort_multipart(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StorageError> {
        self.inner.abort_multipart(key, upload).await
    }
    async fn presign_get(&self, key: &ObjectKey, valid_for: Duration) -> Result<PresignedLink, StorageError> {
        self.inner.presign_get(key, valid_for).await
    }
}

async fn slow(platform: &Platform, pause: Duration) -> (Arc<Slow>, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let inner = platform.s3.store(s3::BUCKET).await.unwrap();
    (Arc::new(Slow { inner, pause, reads: Arc::clone(&reads), silent_after_manifest: false }), reads)
}

/// Every object's key, staged ones included.
async fn objects(platform: &Platform) -> Vec<String> {
    let listed = s3::bare_client(&platform.s3.endpoint()).list_objects_v2().bucket(s3::BUCKET).send().await.unwrap();
    listed.contents().iter().filter_map(|object| object.key()).map(str::to_owned).collect()
}

/// Changes a table's plan between its extraction and its publication: what was extracted is then not what the gate
/// is told to ask for, as if the removal or the warehouse's conditions had not worked.
pub(crate) async fn change_plan(platform: &Platform, table: &str, policy: &str) {
    let statement = format!(
        "CREATE FUNCTION other_plan() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
             IF NEW.state = 'READY' AND OLD.state = 'EXTRACTING' AND NEW.table_name = '{table}' THEN
               NEW.plan := jsonb_set(NEW.plan, '{{policy}}', NEW.plan -> 'policy' || {policy});
             END IF;
             RETURN NEW;
           END $$;
         CREATE TRIGGER other_plan BEFORE UPDATE ON export_job_tables FOR EACH ROW EXECUTE FUNCTION other_plan()"
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&platform.metadata).await.unwrap();
}

/// A policy's columns with one of them searched.
pub(crate) const MESSAGE_SEARCHED: &str = r#"jsonb_build_object('columns', (SELECT jsonb_agg(CASE WHEN c ->> 'name' = 'message'
    THEN c || '{"scan": true}' ELSE c END) FROM jsonb_array_elements(NEW.plan -> 'policy' -> 'columns') AS c))"#;

async fn refused(name: &str, table: &str, code: &str, words: &[&str], prepare: impl AsyncFn(&Platform)) {
    refused_as(FileChoice::default(), name, table, code, words, prepare).await;
}

async fn refused_as(
    files: FileChoice,
    name: &str,
    table: &str,
    code: &str,
    words: &[&str],
    prepare: impl AsyncFn(&Platform),
) {
    let platform = Platform::sample(name, ROWS).await;
    prepare(&platform).await;
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let view = worker.finished(worker.request_in(&[table, "way"], files).await).await;
    assert_eq!(view.state, JobState::Failed);
    let found = view.tables.iter().find(|candidate| candidate.name.to_string() == table).unwrap();
    let error = found.error.clone().unwrap();
    assert_eq!((found.state, error.code.as_str()), (TableState::Failed, code), "{}", error.message);
    assert!(words.iter().all(|word| error.message.contains(word)), "{}", error.message);
    assert!(!error.message.contains("jane") && !error.message.contains("FUSION"), "{}", error.message);
    assert!(!error.retryable() && found.files.is_empty());
    let (status, attempts): (String, i32) = sqlx::query_as(
        "SELECT s.status, t.attempts FROM table_export_job_statuses s JOIN export_job_tables t USING (job_id, table_name)
         WHERE s.table_name = $1",
    )
    .bind(table)
    .fetch_one(&platform.metadata)
    .await
    .unwrap();
    assert_eq!((status.as_str(), attempts), ("FAILED", 1), "tried once, and never again");

    // The other table is published; of this one nothing is left, staged or under its final name.
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let left = objects(&platform).await;
        assert!(!left.iter().any(|key| key.contains(&format!("data_exporter_service/{table}/"))), "{left:?}");
        if left.iter().all(|key| key.contains("/way/") && !key.contains("_staging")) && !left.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "still there: {left:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    worker.stop().await;
}

/// One value that the search of the gate must find.
async fn canary(platform: &Platform) {
    sqlx::raw_sql("UPDATE vms SET message = 'call jane@example.com' WHERE vms_id = (SELECT max(vms_id) FROM vms WHERE shown_at >= '2026-03-02T00:00Z' AND shown_at < '2026-03-03T00:00Z')")
        .execute(&platform.warehouse)
        .await
        .unwrap();
    change_plan(platform, "vms", MESSAGE_SEARCHED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_that_nothing_removed_is_not_published() {
    let words = ["file 0 of 'vms'", "column 'message': EMAIL in 1 values", "its files are deleted"];
    refused("gate_canary", "vms", "GATE_FOUND_PERSONAL_DATA", &words, async |platform| {
        canary(platform).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_source_is_not_published() {
    let words = ["file 0 of 'probe_speed'", "rows that the policy does not admit, by source"];
    refused("gate_source", "probe_speed", "GATE_REFUSED", &words, async |platform| {
        let rows = r#"'{"rows": {"in": {"column": "source", "values": ["TOMTOM"]}}}'::jsonb"#;
        change_plan(platform, "probe_speed", rows).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_columns_and_other_bytes_are_not_published() {
    refused("gate_columns", "vms", "GATE_REFUSED", &["where the policy grants"], async |platform| {
        let columns = "jsonb_build_object('columns', (NEW.plan -> 'policy' -> 'columns') - 1)";
        change_plan(platform, "vms", columns).await;
    })
    .await;
    refused("gate_bytes", "vms", "GATE_REFUSED", &["another SHA-256"], async |platform| {
        sqlx::raw_sql(
            "CREATE FUNCTION other_bytes() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN IF NEW.state = 'COMPLETED' AND NEW.table_name = 'vms' THEN NEW.sha256 := repeat('0', 64); END IF; RETURN NEW; END $$;
             CREATE TRIGGER other_bytes BEFORE UPDATE ON export_job_partitions FOR EACH ROW EXECUTE FUNCTION other_bytes()",
        )
        .execute(&platform.metadata)
        .await
        .unwrap();
    })
    .await;
}

/// Files of lines are held to the same: personal data, sources, columns and bytes.
#[tokio::test(flavor = "multi_thread")]
async fn lines_are_refused_for_the_same_reasons() {
    let form = |format, compression| FileChoice { format: Some(format), compression: Some(compression) };
    let csv = form(ExportFormat::Csv, Compression::Gzip);
    let jsonl = form(ExportFormat::Jsonl, Compression::Zstd);
    for (name, files) in [("csv", csv), ("jsonl", jsonl)] {
        let words = ["file 0 of 'vms'", "column 'message': EMAIL in 1 values", "its files are deleted"];
        let (name, code) = (format!("gate_canary_{name}"), "GATE_FOUND_PERSONAL_DATA");
        refused_as(files, &name, "vms", code, &words, canary).await;
    }
    let words = ["file 0 of 'probe_speed'", "rows that the policy does not admit, by source"];
    refused_as(csv, "gate_source_csv", "probe_speed", "GATE_REFUSED", &words, async |platform| {
        let rows = r#"'{"rows": {"in": {"column": "source", "values": ["TOMTOM"]}}}'::jsonb"#;
        change_plan(platform, "probe_speed", rows).await;
    })
    .await;
    // Everything is there, and the last column is first.
    let order = r#"jsonb_build_object('columns', jsonb_build_array(NEW.plan -> 'policy' -> 'columns' -> -1)
        || ((NEW.plan -> 'policy' -> 'columns') - -1))"#;
    let words = ["or in another order, where the policy grants"];
    refused_as(jsonl, "gate_order_jsonl", "vms", "GATE_REFUSED", &words, async |platform| {
        change_plan(platform, "vms", order).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_values_are_published_with_what_was_read() {
    let platform = Platform::sample("gate_clean", ROWS).await;
    change_plan(&platform, "vms", MESSAGE_SEARCHED).await;
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let view = worker.finished(worker.request(&["vms"]).await).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    let manifest = objects(&platform).await.into_iter().find(|key| key.ends_with("/manifest")).unwrap();
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&store.get(&s3::key(&manifest)).await.unwrap()).unwrap();
    let gate = &manifest["export"]["gate"];
    let rows = manifest["meta"]["record_count"].as_u64().unwrap();
    assert!(rows > 0 && gate["rows"].as_u64() == Some(rows) && gate["row_groups"] == gate["searched"], "{gate}");
    let (values, distinct) = (gate["values"].as_u64().unwrap(), gate["distinct"].as_u64().unwrap());
    assert!(distinct > 0 && distinct <= values && values <= rows, "{gate}");
    assert!(gate.get("sample").is_none());
    worker.stop().await;
}

/// Longer than a lease holds: it is renewed meanwhile, and nobody else takes the table.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_takes_long_keeps_its_lease() {
    let platform = Platform::sample("gate_long", ROWS).await;
    let (store, reads) = slow(&platform, Duration::from_secs(4)).await;
    let warehouse = Arc::new(Troubled::new(&platform, PostgresOptions::default()));
    let worker = Running::with(&platform, warehouse.clone(), store);
    let other = Running::start(&platform, warehouse).await;
    other.stop().await;
    let began = Instant::now();
    let view = worker.finished(worker.request(&["vms"]).await).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    assert!(began.elapsed() > Duration::from_secs(8) && reads.load(Ordering::SeqCst) == 2);
    let attempts: i32 =
        sqlx::query_scalar("SELECT attempts FROM export_job_tables").fetch_one(&platform.metadata).await.unwrap();
    assert_eq!(attempts, 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_the_gate_gives_the_table_back() {
    let platform = Platform::sample("gate_stop", ROWS).await;
    let (store, reads) = slow(&platform, Duration::from_secs(60)).await;
    let warehouse = Arc::new(Troubled::new(&platform, PostgresOptions::default()));
    let worker = Running::with(&platform, warehouse.clone(), store);
    let job = worker.request(&["vms"]).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while reads.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the gate did not begin");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stopped = Instant::now();
    worker.stop().await;
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    let (state, attempts, leased): (String, i32, bool) =
        sqlx::query_as("SELECT state, attempts, lease_until IS NOT NULL FROM export_job_tables")
            .fetch_one(&platform.metadata)
            .await
            .unwrap();
    assert_eq!((state.as_str(), attempts, leased), ("READY", 0, false));
    let next = Running::start(&platform, warehouse).await;
    let view = next.finished(job).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    next.stop().await;
}

/// Whoever repeats a publication writes what the one before it has written, whatever its own settings are.
#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_with_other_settings_finds_its_own_bytes() {
    let platform = Platform::sample("gate_repeated", ROWS).await;
    let inner = platform.s3.store(s3::BUCKET).await.unwrap();
    let silent = Slow { inner, pause: Duration::ZERO, reads: Arc::default(), silent_after_manifest: true };
    let warehouse = Arc::new(Troubled::new(&platform, PostgresOptions::default()));
    let first = Running::with(&platform, warehouse.clone(), Arc::new(silent));
    let job = first.request(&["vms"]).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let manifest = loop {
        if let Some(manifest) = objects(&platform).await.into_iter().find(|key| key.ends_with("/manifest")) {
            break ObjectKey::new(manifest).unwrap();
        }
        assert!(Instant::now() < deadline, "no manifest was written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    first.stop().await;
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let written = store.get(&manifest).await.unwrap();
    let settings = PipelineSettings { gate_sample: 0.5, ..PipelineSettings::default() };
    let second = Running::with_settings(&platform, warehouse, Arc::new(store), settings);
    let view = second.finished(job).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.tables);
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    assert_eq!(store.get(&manifest).await.unwrap(), written);
    let kept: Option<String> =
        sqlx::query_scalar("SELECT manifest FROM export_job_tables").fetch_one(&platform.metadata).await.unwrap();
    assert_eq!(kept, None, "it is in the bucket now");
    second.stop().await;
}

/// A worker that died after its upload began and before it could record the upload's id, and one that recorded the second
/// of two, because the answer to the first was lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_a_recorded_id_is_aborted_and_its_neighbour_is_not() {
    let platform = Platform::sample("orphan_upload", ROWS).await;
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let warehouse = Arc::new(Troubled::new(&platform, PostgresOptions::default()));
    let worker = Running::with(&platform, warehouse, Arc::new(platform.s3.store(s3::BUCKET).await.unwrap()));
    worker.finished(worker.request(&["vms"]).await).await;
    let (lost, foreign) = (s3::key("dev/_staging/lost"), s3::key("dev/_staging/lost-not"));
    let twice = s3::key("dev/_staging/twice");
    let mut last = None;
    for key in [&lost, &lost, &foreign, &twice, &twice] {
        last = Some(store.create_multipart(key, "text/plain").await.unwrap().0);
    }
    assert_eq!(store.open_uploads(&lost).await.unwrap().len(), 2);
    for (key, id) in [(&lost, None), (&twice, last)] {
        let recorded = "INSERT INTO export_staged_objects (staging_key, job_id, partition_id, lease_epoch, upload_id)
                        SELECT $1, job_id, id, lease_epoch - 1, $2 FROM export_job_partitions LIMIT 1";
        sqlx::query(recorded).bind(key.as_str()).bind(id).execute(&platform.metadata).await.unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let left = "SELECT count(*) FROM export_staged_objects WHERE removed_at IS NULL";
    while sqlx::query_scalar::<_, i64>(left).fetch_one(&platform.metadata).await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "nobody cleans up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(store.open_uploads(&lost).await.unwrap(), []);
    assert_eq!(store.open_uploads(&twice).await.unwrap(), []);
    assert_eq!(store.open_uploads(&foreign).await.unwrap().len(), 1, "the database does not say that it is ours");
    worker.stop().await;
}
