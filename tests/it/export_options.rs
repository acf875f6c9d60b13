//! What operators say of single columns, from their table to a scan and a manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_exporter::jobs::JobState;
use data_exporter::rules::RuleStore;
use data_exporter::storage::{ObjectKey, ObjectStore};
use data_exporter::warehouse::postgres::PostgresOptions;
use data_exporter::warehouse::{ColumnOptions, GeometryForm, OnTooLong, OnUnrepresentable};
use serde_json::Value;

use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::Platform;
use crate::support::{metadata, python, s3};

#[tokio::test]
async fn options_are_read_as_they_are_written_and_every_change_is_kept() {
    let pool = metadata::database("export_options").await;
    let rules = RuleStore::new(pool.clone());
    let table = "ops.way".parse().unwrap();
    assert_eq!(rules.column_options(&table).await.unwrap(), BTreeMap::new());
    let before: i64 = sqlx::query_scalar("SELECT revision FROM rules_revision").fetch_one(&pool).await.unwrap();
    let rows = "INSERT INTO column_export_options (table_name, column_name, on_unrepresentable, on_too_long, decimals, geometry)
        VALUES ('ops.way', 'at', 'clamp', NULL, NULL, NULL), ('ops.way', 'shape', 'null', 'null', 6, 'polyline'),
               ('ops.way', 'note', DEFAULT, 'truncate', NULL, NULL), ('way', 'other', 'text', NULL, NULL, NULL)";
    sqlx::raw_sql(rows).execute(&pool).await.unwrap();
    let read: BTreeMap<String, ColumnOptions> = rules
        .column_options(&table)
        .await
        .unwrap()
        .into_iter()
        .map(|(column, options)| (column, serde_json::from_value(options).unwrap()))
        .collect();
    let plain = ColumnOptions::default;
    let want = [
        ("at", ColumnOptions { on_unrepresentable: OnUnrepresentable::Clamp, ..plain() }),
        ("note", ColumnOptions { on_too_long: Some(OnTooLong::Truncate), ..plain() }),
        (
            "shape",
            ColumnOptions {
                on_unrepresentable: OnUnrepresentable::Null,
                on_too_long: Some(OnTooLong::Null),
                decimals: Some(6),
                geometry: Some(GeometryForm::Polyline),
            },
        ),
    ];
    assert_eq!(read, want.into_iter().map(|(column, options)| (column.to_owned(), options)).collect());

    sqlx::raw_sql("DELETE FROM column_export_options WHERE table_name = 'way'").execute(&pool).await.unwrap();
    let after: i64 = sqlx::query_scalar("SELECT revision FROM rules_revision").fetch_one(&pool).await.unwrap();
    assert_eq!(after, before + 2);
    let kept: Vec<(String, Option<Value>)> = sqlx::query_as(
        "SELECT operation, before FROM rules_audit WHERE rule_table = 'column_export_options' ORDER BY id DESC LIMIT 1",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!((kept[0].0.as_str(), &kept[0].1.as_ref().unwrap()["column_name"]), ("DELETE", &Value::from("other")));
}

#[tokio::test]
async fn options_that_cannot_hold_are_refused_by_the_table() {
    let pool = metadata::database("export_options_checks").await;
    for (columns, values) in [
        ("on_unrepresentable", "'maybe'"),
        ("on_unrepresentable", "NULL"),
        ("on_too_long", "'clamp'"),
        ("decimals", "16"),
        ("decimals", "-1"),
        ("geometry", "'wkt'"),
        ("on_too_long, geometry", "'truncate', 'text'"),
        ("on_too_long, decimals", "'truncate', 2"),
        ("on_unrepresentable, geometry", "'text', 'wkb'"),
        ("on_too_long, geometry", "'null', 'wkb'"),
    ] {
        let row = format!(
            "INSERT INTO column_export_options (table_name, column_name, {columns}) VALUES ('way', 'shape', {values})"
        );
        assert!(sqlx::raw_sql(sqlx::AssertSqlSafe(row)).execute(&pool).await.is_err(), "{columns} = {values}");
    }
}

/// Writes rules by hand, exports the sample's roads, and reads the file and the manifest.
#[tokio::test(flavor = "multi_thread")]
async fn options_and_profile_reach_the_file_and_the_manifest() {
    let platform = Platform::sample("export_options_file", 2_000).await;
    let rules = "UPDATE export_tables SET type_profile = 'native' WHERE table_name = 'way';
        INSERT INTO column_export_options (table_name, column_name, decimals, geometry)
        VALUES ('way', 'geometry_wkt', 5, 'wkb')";
    sqlx::raw_sql(rules).execute(&platform.metadata).await.unwrap();
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let view = worker.finished(worker.request(&["way"]).await).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let key = &view.tables[0].files[0].key;
    let folder = key.rsplit_once('/').unwrap().0;
    let file = store.get(&ObjectKey::new(key).unwrap()).await.unwrap();
    let manifest = store.get(&ObjectKey::new(format!("{folder}/manifest")).unwrap()).await.unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let elements = manifest["schema"]["elements"].as_array().unwrap();
    let base = |name: &str| {
        let found = elements.iter().find(|element| element["name"] == name);
        found.map(|element| element["type"]["base"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(base("geometry_wkt").as_deref(), Some("binary varying"), "{elements:?}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("way.parquet");
    std::fs::write(&path, file).unwrap();
    let said = python::run("geometry.py", [path.as_os_str(), "geometry_wkt".as_ref()]);
    assert!(said.starts_with("1.1.0 geometry_wkt WKB "), "{said}");

    // A row that names nothing is a mistake that would otherwise stay unseen.
    sqlx::raw_sql("UPDATE column_export_options SET column_name = 'geometrie'")
        .execute(&platform.metadata)
        .await
        .unwrap();
    let failed = worker.finished(worker.request(&["way"]).await).await;
    let message = failed.error.unwrap().message;
    assert!(message.contains("'geometrie' of 'way' which the table does not have"), "{message}");
    worker.stop().await;
}
