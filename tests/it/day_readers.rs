//! Those who read a day: by its manifests while it is restated, by its folders, and by loading what a manifest lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use aws_sdk_s3::Client;
use bytes::Bytes;
use data_exporter::local::s3::{Fault, Operation};
use data_exporter::pipeline::PipelineSettings;
use data_exporter::warehouse::postgres::PostgresOptions;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use regex::Regex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::export_processes::EXPECTED;
use crate::support::inprocess::{Running, Troubled};
use crate::support::offered::{offer, run};
use crate::support::platform::{Platform, sql_day};
use crate::support::{days, python, readers, s3};

const FOLDER: &str = "dev/2026/03/02";
/// Rows of each revision: more files than before, and fewer.
const ROWS: [i64; 6] = [5_000, 12_000, 2_000, 9_000, 3_000, 7_000];

/// A bucket as anybody sees it.
#[derive(Debug, Clone)]
struct Bucket(Client);

impl Bucket {
    fn of(platform: &Platform) -> Self {
        Self(s3::bare_client(&platform.s3.endpoint()))
    }

    async fn get(&self, key: &str) -> Option<Bytes> {
        match self.0.get_object().bucket(s3::BUCKET).key(key).send().await {
            Ok(found) => Some(found.body.collect().await.unwrap().into_bytes()),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => None,
            Err(error) => panic!("{key}: {error:?}"),
        }
    }

    async fn json(&self, key: &str) -> Value {
        let found = self.get(key).await.unwrap_or_else(|| panic!("{key} is not there"));
        serde_json::from_slice(&found).unwrap()
    }

    /// Every key below this one.
    async fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = self.0.list_objects_v2().bucket(s3::BUCKET).prefix(prefix).send().await.unwrap();
        assert_eq!(listed.is_truncated(), Some(false));
        listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    /// Copies what is below this key into a folder.
    async fn download(&self, prefix: &str, folder: &Path) {
        for key in self.keys(prefix).await {
            let path = folder.join(&key[prefix.len()..]);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, self.get(&key).await.unwrap()).unwrap();
        }
    }
}

/// The key in an address.
fn key(address: &Value) -> &str {
    address.as_str().unwrap().strip_prefix(&format!("s3://{}/", s3::BUCKET)).unwrap()
}

fn hash(file: &[u8]) -> String {
    Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The revision that a file's rows say they are of, and their ids.
fn rows(file: Bytes) -> (BTreeSet<i64>, Vec<i64>) {
    let (mut revisions, mut ids) = (BTreeSet::new(), Vec::new());
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        ids.extend(batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().values());
        let notes = batch.column_by_name("note").unwrap().as_string::<i32>();
        revisions
            .extend(notes.iter().map(|note| note.unwrap().split(' ').next().unwrap()[1..].parse::<i64>().unwrap()));
    }
    (revisions, ids)
}

/// What a reader has done so far.
#[derive(Debug, Default)]
struct Reader {
    begun: AtomicU64,
}

/// Reads the day again and again the way the contract asks for: from its summary to the manifest, from there to the files.
/// Each time all of it must be one revision, whole. Returns how often it read which.
async fn follow(bucket: Bucket, reader: Arc<Reader>, stop: CancellationToken) -> BTreeMap<i64, usize> {
    let mut seen = BTreeMap::new();
    while !stop.is_cancelled() {
        reader.begun.fetch_add(1, Ordering::SeqCst);
        let summary = bucket.json(&format!("{FOLDER}/_SUCCESS")).await;
        let manifest = bucket.json(key(&summary["tables"][0]["manifest"])).await;
        let revision = manifest["export"]["revision"].as_i64().unwrap();
        let mut found = Vec::new();
        for entry in manifest["entries"].as_array().unwrap() {
            let name = key(&entry["url"]);
            let file =
                bucket.get(name).await.unwrap_or_else(|| panic!("revision {revision} lists {name}, and it is gone"));
            assert_eq!(entry["sha256"], hash(&file), "{name} is not what revision {revision} lists");
            let (revisions, ids) = rows(file);
            assert_eq!(entry["meta"]["record_count"], ids.len(), "{name}");
            assert_eq!(revisions, BTreeSet::from([revision]), "{name} in the manifest of revision {revision}");
            found.extend(ids);
        }
        found.sort_unstable();
        let all: Vec<i64> = (0..ROWS[usize::try_from(revision - 1).unwrap()]).collect();
        assert!(found == all, "revision {revision} has {} rows of {}", found.len(), all.len());
        *seen.entry(revision).or_default() += 1;
    }
    seen
}

/// A reader of folders in the moment of a swap may meet files of both revisions. Each of them is still one that was
/// published, whole.
async fn glance(bucket: Bucket, stop: CancellationToken) -> usize {
    let mut seen = 0;
    while !stop.is_cancelled() {
        for name in bucket.keys(&format!("{FOLDER}/event/event_")).await {
            let Some(file) = bucket.get(&name).await else { continue };
            assert_eq!(rows(file).0.len(), 1, "{name}");
            seen += 1;
        }
    }
    seen
}

/// Fills the day with the rows of a revision, and exports it.
async fn restate(platform: &Platform, revision: usize) {
    let rows = ROWS[revision - 1];
    run(
        &platform.warehouse,
        format!(
            "TRUNCATE event;
             INSERT INTO event SELECT i, timestamptz '2026-03-02T00:00Z' + i * interval '1 day' / {rows},
                                      'r{revision} ' || repeat(md5((i + {revision})::text), 12)
                               FROM generate_series(0, {rows} - 1) AS i;
             ANALYZE event"
        ),
    )
    .await;
    let day = days::day("UTC", "2026-03-02");
    assert!(days::export(platform, &day, None).await, "revision {revision}");
}

/// What readers of folders see of the table: rows by revision.
async fn visible(bucket: &Bucket) -> Value {
    let folder = tempfile::tempdir().unwrap();
    bucket.download(&format!("{FOLDER}/event/"), folder.path()).await;
    let found: Value = serde_json::from_str(&python::run("day_revisions.py", [folder.path()])).unwrap();
    assert_eq!(found["pyarrow"], found["duckdb"]);
    found["duckdb"].clone()
}

async fn until_swapped(platform: &Platform) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let open = "SELECT count(*) FROM export_day_swaps WHERE done_at IS NULL";
    while sqlx::query_scalar::<_, i64>(open).fetch_one(&platform.metadata).await.unwrap() > 0 {
        assert!(Instant::now() < deadline, "the files cannot be seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_manifests_sees_one_revision_whatever_is_restated() {
    let platform = Platform::empty("day_readers").await;
    run(&platform.warehouse, "CREATE TABLE event (id bigint, at timestamptz, note text); CREATE INDEX ON event (at)")
        .await;
    offer(&platform, "event", "timestamp", "UTC").await;
    let settings = PipelineSettings { partition_target_bytes: 1 << 20, ..PipelineSettings::default() };
    let warehouse = Arc::new(Troubled::new(&platform, PostgresOptions::default()));
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    let _worker = Running::with_settings(&platform, warehouse, store, settings);
    let bucket = Bucket::of(&platform);
    restate(&platform, 1).await;
    let stop = CancellationToken::new();
    let books: Vec<Arc<Reader>> = (0..2).map(|_| Arc::default()).collect();
    let reading: Vec<_> =
        books.iter().map(|one| tokio::spawn(follow(bucket.clone(), Arc::clone(one), stop.clone()))).collect();
    let glancing = tokio::spawn(glance(bucket.clone(), stop.clone()));
    // Time enough to be met between any two steps.
    platform.s3.faults().often(Some(Operation::Copy), 100, Fault::Delay(Duration::from_millis(100)));

    let mut shown = 1;
    let (mut most, mut fewest) = (0, usize::MAX);
    for revision in 2..=ROWS.len() {
        restate(&platform, revision).await;
        let manifest = bucket.json(&format!("{FOLDER}/event/_manifest")).await;
        assert_eq!(
            (&manifest["export"]["revision"], &manifest["meta"]["record_count"]),
            (&json!(revision), &json!(ROWS[revision - 1]))
        );
        assert_shape(&manifest, &bucket).await;
        let files = manifest["entries"].as_array().unwrap().len();
        (most, fewest) = (most.max(files), fewest.min(files));
        let expected = |revision: usize| json!({ format!("r{revision}"): ROWS[revision - 1] });
        assert_eq!(visible(&bucket).await, expected(shown), "within its grace the folder stays what it was");
        // Of the third and fourth only the fourth is ever seen in the folder.
        if revision == 3 {
            continue;
        }
        // The grace is over when nobody reads any more what he began to read before it.
        for (one, task) in books.iter().zip(&reading) {
            let begun = one.begun.load(Ordering::SeqCst);
            while one.begun.load(Ordering::SeqCst) == begun && !task.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        run(&platform.metadata, "UPDATE export_day_swaps SET due_at = clock_timestamp() WHERE done_at IS NULL").await;
        until_swapped(&platform).await;
        assert_eq!(visible(&bucket).await, expected(revision), "then it shows the new one, and nothing else");
        shown = revision;
    }
    stop.cancel();
    let mut all: BTreeMap<i64, usize> = BTreeMap::new();
    for one in reading {
        one.await.unwrap().into_iter().for_each(|(revision, times)| *all.entry(revision).or_default() += times);
    }
    let glanced = glancing.await.unwrap();
    println!("reads by revision: {all:?}; {glanced} visible files; {fewest} to {most} files a revision");
    assert!(all.len() == ROWS.len() && glanced > 0, "every revision was read: {all:?}");
    assert!(fewest < most && most > 1, "a mixture would have been possible");
}

/// The shape that Redshift documents for `COPY … MANIFEST`, for external tables, and for what `UNLOAD … MANIFEST VERBOSE`
/// writes. Keys of our own are listed here one by one: a new one has to be thought about.
async fn assert_shape(manifest: &Value, bucket: &Bucket) {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>();
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<String>>();
    let (documented, ours) = (set(&["entries", "schema", "meta", "author"]), set(&["export"]));
    assert_eq!(keys(manifest), &documented | &ours);
    let entries = manifest["entries"].as_array().unwrap();
    assert!(!entries.is_empty(), "without a file COPY ends with an error");
    let mut urls = BTreeSet::new();
    let (mut bytes, mut records) = (0, 0);
    let address = Regex::new(r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^/].*[^/]$").unwrap();
    for entry in entries {
        let (documented, mut ours) = (set(&["url", "mandatory", "meta"]), set(&["name", "sha256"]));
        ours.extend(entry.get("window").map(|_| "window".to_owned()));
        assert_eq!(keys(entry), &documented | &ours);
        let url = entry["url"].as_str().unwrap();
        assert!(address.is_match(url), "a bucket and the whole path of an object: {url}");
        assert!(urls.insert(url), "{url} is listed twice, and would be loaded twice");
        assert_eq!(entry["mandatory"], Value::Bool(true));
        assert_eq!(keys(&entry["meta"]), set(&["content_length", "record_count"]));
        let length = entry["meta"]["content_length"].as_u64().expect("an integer");
        assert_eq!(length, bucket.get(key(&entry["url"])).await.unwrap().len() as u64, "{url}");
        bytes += length;
        records += entry["meta"]["record_count"].as_u64().expect("an integer");
    }
    assert_eq!(manifest["meta"], json!({ "content_length": bytes, "record_count": records }));
    let types = Regex::new(
        r"^(smallint|integer|bigint|real|double precision|boolean|date|character varying|binary varying|super|numeric\(([1-9]|[12][0-9]|3[0-8]),[0-9]{1,2}\)|timestamp with(out)? time zone|time without time zone)$",
    )
    .unwrap();
    assert_eq!(keys(&manifest["schema"]), set(&["elements"]));
    let mut names = Vec::new();
    for element in manifest["schema"]["elements"].as_array().unwrap() {
        assert_eq!((keys(element), keys(&element["type"])), (set(&["name", "type"]), set(&["base"])));
        let base = element["type"]["base"].as_str().unwrap();
        assert!(types.is_match(base), "no type of Redshift's: {base}");
        names.push(element["name"].as_str().unwrap().to_owned());
    }
    // Columns of Parquet are loaded by their place.
    let first = bucket.get(key(&entries[0]["url"])).await.unwrap();
    let schema = ParquetRecordBatchReaderBuilder::try_new(first).unwrap().schema().clone();
    let found: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(found, names);
    assert_eq!(keys(&manifest["author"]), set(&["name", "version"]));
    assert!(manifest["author"]["name"].is_string() && manifest["author"]["version"].is_string());
}

/// Where other readers find what is left for them.
fn left_for_others() -> Option<PathBuf> {
    std::env::var_os("EXPORTER_TEST_READER_FILES").map(PathBuf::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn other_readers_see_a_day_of_the_sample_as_tables() {
    let platform = Platform::sample("day_folders", 20_000).await;
    run(
        &platform.metadata,
        "UPDATE data_column_classification
         SET pii_exempt_by = 'test', pii_exempt_reason = 'exact', pii_exempt_until = '2099-12-31'
         WHERE (table_name, column_name) IN (('incident', 'description'), ('incident', 'details'), ('way', 'tags'))",
    )
    .await;
    let worker = days::worker(&platform).await;
    assert!(days::export(&platform, &days::day("UTC", "2026-03-02"), None).await);
    let own = tempfile::tempdir().unwrap();
    let folder = left_for_others().unwrap_or_else(|| own.path().to_owned());
    let (day, expected) = (folder.join("day"), folder.join("expected"));
    std::fs::create_dir_all(&expected).unwrap();
    let bucket = Bucket::of(&platform);
    bucket.download(&format!("{FOLDER}/"), &day).await;

    let (start, end) = sql_day();
    let reference: (&str, &[&str], &str, &str) =
        ("road_class_reference", &["road_class", "title", "default_speed", "toll", "valid_from"], "", "true");
    for (table, columns, time, rows) in EXPECTED.iter().chain([&reference]) {
        let condition = match *time {
            "" => (*rows).to_owned(),
            time => format!("{time} >= '{start}' AND {time} < '{end}' AND {rows}"),
        };
        readers::expect(&platform.warehouse, table, columns, &condition, &expected.join(table)).await;
        let visible: Vec<PathBuf> = std::fs::read_dir(day.join(table))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('_'))
            .collect();
        assert!(readers::compare(&expected.join(table), &visible) > 0, "{table} is empty, and proves nothing");
        assert_shape(&bucket.json(&format!("{FOLDER}/{table}/_manifest")).await, &bucket).await;
    }
    // On demand the same is written, under another name.
    let job = worker.request(&["sensor_metric", "way"]).await;
    for table in worker.finished(job).await.tables {
        let (directory, _) = table.files[0].key.rsplit_once('/').unwrap();
        assert_shape(&bucket.json(&format!("{directory}/manifest")).await, &bucket).await;
    }
    let rules = python::run("day_expected.py", [&day, &expected]);
    assert_eq!(rules.lines().count(), 5, "{rules}");
    assert!(rules.contains("export_tables 9"), "{rules}");
}
