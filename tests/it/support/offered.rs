//! Tables of a test's own with an id and a time, offered as they are: every column leaves, and none is searched.

use data_exporter::jobs::{Compression, ExportFormat, FileChoice, JobId, JobState, JobView, NewRequest, Tenant};
use data_exporter::storage::ObjectStore;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;

use super::inprocess::Running;
use super::platform::Platform;
use super::s3;

/// Runs statements.
pub(crate) async fn run(pool: &PgPool, statements: impl Into<String>) {
    let statements = statements.into();
    let done = sqlx::raw_sql(AssertSqlSafe(statements.clone())).execute(pool).await;
    done.unwrap_or_else(|error| panic!("{error}: {statements}"));
}

/// Offers a table with the columns `id`, `at` and `note`.
pub(crate) async fn offer(platform: &Platform, table: &str, unit: &str, zone: &str) {
    run(
        &platform.metadata,
        format!(
            "INSERT INTO export_tables (table_name, time_column, time_unit, time_zone) VALUES ('{table}', 'at', '{unit}', '{zone}');
             INSERT INTO data_column_classification
             SELECT '{table}', name, 'nr', 'test', 'made up', '2099-12-31' FROM unnest(ARRAY['id', 'at', 'note']) AS name"
        ),
    )
    .await;
}

/// Requests these tables between two instants, as lines.
pub(crate) async fn request(worker: &Running, tables: &[&str], (start, end): (i64, i64)) -> JobId {
    let request = NewRequest {
        tenant: Tenant::default(),
        requested_by: "test".to_owned(),
        start,
        end,
        tables: Some(tables.iter().map(|&table| table.to_owned()).collect()),
        files: FileChoice { format: Some(ExportFormat::Jsonl), compression: Some(Compression::None) },
        idempotency_key: None,
    };
    worker.requests.submit(&request).await.unwrap()
}

/// The manifest of a completed table.
pub(crate) async fn manifest(platform: &Platform, view: &JobView, table: &str) -> Value {
    assert_eq!(view.state, JobState::Completed, "{view:?}");
    let found = view.tables.iter().find(|found| found.name.name() == table).unwrap();
    let (folder, _) = found.files[0].key.rsplit_once('/').unwrap();
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    serde_json::from_slice(&store.get(&s3::key(&format!("{folder}/manifest"))).await.unwrap()).unwrap()
}

/// What each of its files holds: the ids in order, and the time range.
pub(crate) async fn files(platform: &Platform, manifest: &Value) -> Vec<(Vec<i64>, [String; 2])> {
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let mut files = Vec::new();
    for entry in manifest["entries"].as_array().unwrap() {
        let key = entry["url"].as_str().unwrap().strip_prefix(&format!("s3://{}/", s3::BUCKET)).unwrap();
        let lines = store.get(&s3::key(key)).await.unwrap();
        let lines = std::str::from_utf8(&lines).unwrap().lines();
        let mut ids: Vec<i64> =
            lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap()).collect();
        ids.sort_unstable();
        let window = [0, 1].map(|i| entry["window"][i].as_str().unwrap().to_owned());
        files.push((ids, window));
    }
    files
}
