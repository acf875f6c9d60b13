//! A table with a column of every type in a whole export: through protection, the gate and a manifest, in both profiles.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use data_exporter::jobs::{ExportFormat, FileChoice, JobState};
use data_exporter::storage::{ObjectKey, ObjectStore};
use data_exporter::warehouse::postgres::PostgresOptions;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::Platform;
use crate::support::s3;

/// Types that need nothing said of them, each with a value.
pub(crate) const TYPES: &[(&str, &str)] = &[
    ("smallint", "'7'"),
    ("integer", "'7'"),
    ("bigint", "'7'"),
    ("oid", "'7'"),
    ("xid", "'7'"),
    ("cid", "'7'"),
    ("real", "'7.5'"),
    ("double precision", "'7.5'"),
    ("boolean", "true"),
    ("numeric(12,2)", "'7.25'"),
    ("numeric(5,-2)", "'700'"),
    ("numeric", "'7.25'"),
    ("money", "'7.25'"),
    ("text", "'plain, \"quoted\"'"),
    ("character varying(20)", "'plain'"),
    ("character(3)", "'ab'"),
    ("name", "'plain'"),
    ("xml", "'<a/>'"),
    ("\"char\"", "'a'"),
    ("json", "'{\"a\": 1}'"),
    ("jsonb", "'{\"a\": 1}'"),
    ("jsonpath", "'$.a'"),
    ("uuid", "'12345678-0123-4567-89ab-cdefabcdef01'"),
    ("bytea", "'\\x00ff'"),
    ("timestamp with time zone", "'2026-03-02 01:02:03.456789Z'"),
    ("timestamp without time zone", "'2026-03-02 01:02:03.456789'"),
    ("date", "'2026-03-02'"),
    ("time without time zone", "'01:02:03.456789'"),
    ("time with time zone", "'01:02:03.456789+02'"),
    ("interval", "'1 month 2 days 03:04:05'"),
    ("inet", "'192.0.2.7'"),
    ("cidr", "'192.0.2.0/24'"),
    ("macaddr", "'08:00:2b:01:02:03'"),
    ("macaddr8", "'08:00:2b:01:02:03:04:05'"),
    ("bit(8)", "'10101010'"),
    ("bit varying", "'101'"),
    ("tsvector", "'a:1 b:2'"),
    ("tsquery", "'a & b'"),
    ("pg_lsn", "'16/B374D848'"),
    ("xid8", "'7'"),
    ("tid", "'(1,2)'"),
    ("pg_snapshot", "'10:20:10,14'"),
    ("regclass", "'pg_catalog.pg_class'"),
    ("regtype", "'integer'"),
    ("integer[]", "'{1,NULL,3}'"),
    ("text[]", "'{a,\"b, c\",NULL}'"),
    ("uuid[]", "'{12345678-0123-4567-89ab-cdefabcdef01}'"),
    ("time without time zone[]", "'{01:02:03}'"),
    ("jsonb[]", "ARRAY['{\"a\": [1]}'::jsonb]"),
    ("int2vector", "'1 2'"),
    ("int4range", "'[1,5)'"),
    ("numrange", "'(,7.5]'"),
    ("tstzrange", "'[2026-03-02 00:00Z,)'"),
    ("int4multirange", "'{[1,2),[5,7)}'"),
    ("public.hstore", "'a=>1, \"b c\"=>NULL'"),
    ("colour", "'red'"),
    ("small", "7"),
    ("pair", "'(1,two)'"),
    ("pair[]", "ARRAY['(1,two)'::pair, NULL]"),
];

/// What the types above need.
pub(crate) const MADE: &str =
    "CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public; CREATE TYPE colour AS ENUM ('red', 'green');
    CREATE DOMAIN small AS integer; CREATE TYPE pair AS (a integer, \"B b\" text);";

/// A table with these columns beside the time: a row of values, a row of NULL.
async fn every(platform: &Platform) {
    let columns: Vec<String> = (0..TYPES.len()).map(|i| format!("c{i}")).collect();
    let typed: Vec<String> =
        columns.iter().zip(TYPES).map(|(name, (sql_type, _))| format!("{name} {sql_type}")).collect();
    let values: Vec<&str> = TYPES.iter().map(|(_, value)| *value).collect();
    let making = format!(
        "{MADE} CREATE TABLE every (at timestamptz, {}, ring circle, seen timestamptz, born date, shape text, line text,
             note text, provider text);
         INSERT INTO every VALUES ('2026-03-02 01:00Z', {}, '<(1,2),3>', 'infinity', 'infinity', 'POINT (8.123456 50.1)',
             'LINESTRING (8 50, 9 51)', 'write to jane@example.com', 'HERE' || repeat('x', 70000));
         INSERT INTO every (at, seen, born, shape, note) VALUES
             ('2026-03-02 02:00Z', '-infinity', '2026-03-02', NULL, NULL),
             ('2026-03-02 03:00Z', 'infinity', '-infinity', 'POLYGON ((0 0, 1 0, 1 1, 0 0))', 'clear')",
        typed.join(", "),
        values.join(", ")
    );
    sqlx::raw_sql(AssertSqlSafe(making)).execute(&platform.warehouse).await.unwrap();
    let exempt: Vec<String> = columns
        .iter()
        .map(String::as_str)
        .chain(["ring"])
        .map(|name| format!("('every', '{name}', 'nr', 'test', 'types', '2099-12-31')"))
        .collect();
    let rules = format!(
        "INSERT INTO export_tables (table_name, time_column) VALUES ('every', 'at');
         INSERT INTO data_column_classification VALUES {};
         INSERT INTO data_column_classification (table_name, column_name, classification)
         SELECT 'every', name, 'nr' FROM unnest(ARRAY['at', 'seen', 'born', 'shape', 'line', 'note', 'provider']) AS name;
         INSERT INTO column_export_options (table_name, column_name, on_unrepresentable, on_too_long, decimals, geometry)
         VALUES ('every', 'ring', 'text', NULL, NULL, NULL), ('every', 'seen', 'clamp', NULL, NULL, NULL),
                ('every', 'born', 'null', NULL, NULL, NULL), ('every', 'shape', 'error', NULL, 4, 'wkb'),
                ('every', 'line', 'error', NULL, NULL, 'polyline'), ('every', 'provider', 'error', 'truncate', NULL, NULL)",
        exempt.join(", ")
    );
    sqlx::raw_sql(AssertSqlSafe(rules)).execute(&platform.metadata).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_passes_the_gate_and_the_manifest_says_what_files_do_not_hold() {
    let platform = Platform::empty("export_types").await;
    every(&platform).await;
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    for (profile, format) in [
        ("portable", None),
        ("native", None),
        ("portable", Some(ExportFormat::Csv)),
        ("native", Some(ExportFormat::Csv)),
        ("portable", Some(ExportFormat::Jsonl)),
        ("native", Some(ExportFormat::Jsonl)),
    ] {
        sqlx::query("UPDATE export_tables SET type_profile = $1")
            .bind(profile)
            .execute(&platform.metadata)
            .await
            .unwrap();
        let files = FileChoice { format, compression: None };
        let view = worker.finished(worker.request_in(&["every"], files).await).await;
        assert_eq!(view.state, JobState::Completed, "{profile} {format:?}: {:?}", view.error);
        let key = &view.tables[0].files[0].key;
        let folder = key.rsplit_once('/').unwrap().0;
        let manifest = store.get(&ObjectKey::new(format!("{folder}/manifest")).unwrap()).await.unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();

        let fidelity = &manifest["export"]["fidelity"];
        let sums: Vec<(&str, &str, u64)> = fidelity
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(column, done)| done.as_object().unwrap().iter().map(move |(action, why)| (column, action, why)))
            .map(|(column, action, why)| {
                let counts = why.as_object().unwrap().values().map(|count| count.as_u64().unwrap());
                (column.as_str(), action.as_str(), counts.sum())
            })
            .collect();
        assert_eq!(
            sums,
            [("born", "nulled", 2), ("provider", "truncated", 1), ("seen", "clamped", 3)],
            "{profile}: {fidelity}"
        );
        let kept: Value = sqlx::query_scalar(
            "SELECT report -> 'fidelity' FROM export_job_partitions WHERE state = 'COMPLETED' ORDER BY id DESC LIMIT 1",
        )
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
        assert_eq!(&kept, fidelity, "{profile}");
        assert_eq!(manifest["export"]["removed"], json!({"note": {"EMAIL": 1}}), "{profile}");
        let elements = manifest["schema"]["elements"].as_array().unwrap();
        let bases: Vec<(&str, &str)> = elements
            .iter()
            .map(|element| (element["name"].as_str().unwrap(), element["type"]["base"].as_str().unwrap()))
            .collect();
        let base = |sql_type: &str| {
            let name = format!("c{}", TYPES.iter().position(|(found, _)| *found == sql_type).unwrap());
            bases.iter().find(|(found, _)| *found == name).unwrap().1
        };
        let native = profile == "native";
        assert_eq!(base("uuid"), if native { "binary varying" } else { "character varying" });
        assert_eq!(base("time without time zone"), if native { "time without time zone" } else { "character varying" });
        assert_eq!([base("interval"), base("pair[]"), base("public.hstore")], ["super"; 3]);
        assert!(bases.contains(&("shape", "binary varying")) && bases.contains(&("ring", "character varying")));

        let file = store.get(&ObjectKey::new(key).unwrap()).await.unwrap();
        if format.is_some() {
            let lines = String::from_utf8(file.to_vec()).unwrap();
            assert_eq!(lines.matches("9999-12-31T23:59:59.999999Z").count(), 2, "seen, clamped to its end");
            assert_eq!(lines.matches("0001-01-01T00:00:00.000000Z").count(), 1, "and to its beginning");
            assert!(
                !lines.contains("jane") && !lines.contains("nfinity"),
                "neither what is removed nor what is nulled"
            );
            continue;
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        let rows = concat_batches(&batches[0].schema(), &batches).unwrap();
        assert_eq!((rows.num_rows(), rows.num_columns()), (3, TYPES.len() + 8), "{profile}");
        for (i, (sql_type, _)) in TYPES.iter().enumerate() {
            let array = rows.column_by_name(&format!("c{i}")).unwrap();
            assert_eq!(array.null_count(), 2, "{sql_type}");
        }
        let text = |name: &str| rows.column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
        assert!(!text("note").contains("jane"), "{}", text("note"));
        assert_eq!(text("ring"), "<(1,2),3>");
        assert_eq!(text("provider").len(), 65_535);
    }
    worker.stop().await;
}
