//! Policies with actions and searches from a plan to files that are downloaded, by a real process with a real key.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use classification::actions::Action;
use classification::{ColumnKind, Policy, PolicyColumn, Predicate};
use data_exporter::jobs::{
    FileChoice, FileForm, JobId, JobState, NewRequest, PlannedTable, Queue, QueueSettings, Requests, TableFate, Tenant,
    Window,
};
use data_exporter::pipeline::TablePlan;
use data_exporter::storage::{ObjectKey, ObjectStore};
use data_exporter::warehouse::postgres::PostgresOptions;
use data_exporter::warehouse::{ScanSpec, TimeSlice, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::{Platform, day, day_range, download};
use crate::support::protect::{KEY, care, column, hold_back, key, one_of, scan, texts_of};
use crate::support::s3;

const TABLE: &str = "
    CREATE TABLE visit (at timestamptz, source text, note text, who text, tags jsonb, speed float8);
    INSERT INTO visit
    SELECT '2026-03-02T00:00Z'::timestamptz + g * interval '4 hours', (ARRAY['FUSION', 'HERE', 'TOMTOM'])[1 + g % 3],
      CASE WHEN g % 2 = 0 THEN 'ask nobody' ELSE 'ask person' || g || '@example.com' END, 'driver 7',
      '{\"ip\": \"10.1.2.3\"}', 10.26 + g
    FROM generate_series(0, 5) g";

fn planned(name: &str, sql_type: &str, kind: ColumnKind) -> PolicyColumn {
    PolicyColumn {
        name: name.to_owned(),
        sql_type: sql_type.to_owned(),
        kind,
        cell: Predicate::Always,
        care: Vec::new(),
        scan: false,
    }
}

/// What a compiler would make of rules for that table.
fn policy() -> Policy {
    let mut policy = Policy {
        table: "visit".parse().unwrap(),
        columns: vec![
            planned("at", "timestamp with time zone", ColumnKind::Time),
            planned("note", "text", ColumnKind::Text),
            planned("who", "text", ColumnKind::Text),
            planned("tags", "jsonb", ColumnKind::Json),
            planned("speed", "double precision", ColumnKind::Number),
        ],
        rows: Predicate::Always,
        row_rules: Vec::new(),
        warnings: Vec::new(),
        pii_rules: String::new(),
        decisions: Vec::new(),
        hash: "abc".to_owned(),
    };
    hold_back(&mut policy, "'speed' is mx", one_of("source", &["FUSION", "HERE"]));
    column(&mut policy, "note").scan = true;
    column(&mut policy, "tags").scan = true;
    let daily = Action::Pseudonym { domain: "driver".to_owned(), per_day: true };
    care(&mut policy, "who", Predicate::Always, daily);
    care(&mut policy, "speed", one_of("source", &["HERE"]), Action::Round { decimals: 0 });
    policy
}

/// The two halves of the day.
fn scans(policy: &Policy) -> Vec<ScanSpec> {
    let at = |hour: i64| DateTime::<Utc>::from_timestamp(day_range().0 + hour * 3600, 0).unwrap();
    let slice = |start, end| TimeSlice {
        column: "at".to_owned(),
        unit: TimeUnit::Timestamp,
        zone: "UTC".to_owned(),
        start,
        end,
    };
    [(at(0), at(12)), (at(12), at(24))].map(|(start, end)| scan(policy, Some(slice(start, end))).unwrap()).into()
}

/// A job that was planned by hand.
async fn job(platform: &Platform, scans: &[ScanSpec]) -> JobId {
    sqlx::raw_sql("INSERT INTO export_tables (table_name, time_column) VALUES ('visit', 'at') ON CONFLICT DO NOTHING")
        .execute(&platform.metadata)
        .await
        .unwrap();
    let (start, end) = day_range();
    let request = NewRequest {
        tenant: Tenant::default(),
        requested_by: "test".to_owned(),
        start,
        end,
        tables: Some(vec!["visit".to_owned()]),
        files: FileChoice::default(),
        idempotency_key: None,
    };
    let job = Requests::new(platform.metadata.clone()).submit(&request).await.unwrap();
    let queue = Queue::new(platform.metadata.clone(), QueueSettings::default());
    let task = queue.claim_plan().await.unwrap().unwrap();
    let window = Window { start: scans[0].slice.as_ref().unwrap().start, end: scans[1].slice.as_ref().unwrap().end };
    let policy = policy();
    let manifest_types = policy.columns.iter().map(|column| match column.sql_type.as_str() {
        "text" | "jsonb" => "character varying".to_owned(),
        other => other.to_owned(),
    });
    let manifest_types = manifest_types.collect();
    let plan = serde_json::to_value(TablePlan {
        policy,
        window,
        form: FileForm::PARQUET,
        manifest_types,
        options: BTreeMap::new(),
        day: None,
    })
    .unwrap();
    let partitions = scans.iter().map(|scan| (serde_json::to_value(scan).unwrap(), 3.0)).collect();
    let directory = format!("dev/by_hand/{job}");
    let fate = TableFate::Export { directory, plan, partitions };
    queue.finish_plan(&task, 1, vec![PlannedTable { table: "visit".parse().unwrap(), fate }]).await.unwrap();
    job
}

async fn prepared(name: &str) -> Platform {
    let platform = Platform::empty(name).await;
    sqlx::raw_sql(TABLE).execute(&platform.warehouse).await.unwrap();
    platform
}

async fn manifest(platform: &Platform, job: JobId) -> Value {
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let key = ObjectKey::new(format!("dev/by_hand/{job}/manifest")).unwrap();
    serde_json::from_slice(&store.get(&key).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_is_what_the_policy_says_and_the_manifest_counts_it() {
    let platform = prepared("protect_export").await;
    let path = platform.folder.path().join("key");
    std::fs::write(&path, KEY).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let job = job(&platform, &scans(&policy())).await;
    let setting = path.display().to_string();
    let service = platform.serve("all", "api,worker", &[("EXPORTER_PSEUDONYM_KEY_FILE", setting.as_str())]).await;
    let status = service.finished(&job.to_string()).await;
    assert_eq!(status["status"], "Completed", "{status} {}", service.logged());

    let files = download(&status, &platform.folder.path().join("downloads")).await.remove("visit").unwrap();
    assert_eq!(files.len(), 2);
    let mut batches: Vec<RecordBatch> = Vec::new();
    for file in &files {
        let bytes = Bytes::from(std::fs::read(file).unwrap());
        for canary in ["@example.com", "10.1.2.3", "driver 7", "FUSION", "HERE"] {
            assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "{canary} in {file:?}");
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        batches.extend(reader.map(Result::unwrap));
    }
    let all = concat_batches(&batches[0].schema(), &batches).unwrap();
    assert_eq!(
        all.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["at", "note", "who", "tags", "speed"]
    );
    // g = 0, 1, 3, 4: two and five are TOMTOM's.
    let texts = |name: &str| texts_of(&all, name).into_iter().map(Option::unwrap).collect::<Vec<_>>();
    assert_eq!(texts("note"), ["ask nobody", "ask <EMAIL>", "ask <EMAIL>", "ask nobody"]);
    assert_eq!(texts("speed"), ["10.26", "11.0", "13.26", "14.0"]);
    assert_eq!(texts("tags"), ["{\"ip\": \"<IPV4>\"}"; 4]);
    let day = day().to_string();
    assert_eq!(texts("who"), vec![key().hex("driver", Some(&day), b"driver 7"); 4]);

    let manifest = manifest(&platform, job).await;
    assert_eq!(manifest["export"]["removed"], json!({"note": {"EMAIL": 2}, "tags": {"IPV4": 4}}));
    assert_eq!(manifest["export"]["actions"], json!({"speed": 2, "who": 4}));
    let reports: Vec<Value> = sqlx::query_scalar("SELECT report FROM export_job_partitions ORDER BY ordinal")
        .fetch_all(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(
        reports[0],
        json!({"removed": {"note": {"EMAIL": 1}, "tags": {"IPV4": 2}}, "actions": {"speed": 1, "who": 2}})
    );

    let metrics = reqwest::get(service.url("/metrics")).await.unwrap().text().await.unwrap();
    let counted: BTreeMap<&str, &str> = metrics.lines().filter_map(|line| line.rsplit_once(' ')).collect();
    for (series, count) in [
        ("exporter_pii_removed_total{table=\"visit\",column=\"note\",entity=\"EMAIL\"}", "2"),
        ("exporter_pii_removed_total{table=\"visit\",column=\"tags\",entity=\"IPV4\"}", "4"),
        ("exporter_values_restricted_total{table=\"visit\",column=\"who\"}", "4"),
    ] {
        assert_eq!(counted.get(series), Some(&count), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_key_or_with_a_query_that_forgot_nothing_leaves() {
    for (case, code) in [("no_key", "PSEUDONYM_KEY_MISSING"), ("breach", "POLICY_BREACH")] {
        let platform = prepared(&format!("protect_{case}")).await;
        let mut scans = scans(&policy());
        if case == "breach" {
            // The second file only: the first would be there if publishing did not wait for all.
            scans[1].rows = Predicate::Always;
        }
        let job = job(&platform, &scans).await;
        let warehouse = Arc::new(Troubled::new(&platform, PostgresOptions::default()));
        let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
        let pseudonyms = (case == "breach").then(key);
        let worker = Running::with_key(&platform, warehouse, store.clone(), pseudonyms);
        let view = worker.finished(job).await;
        assert_eq!(view.state, JobState::Failed);
        let error = view.tables[0].error.as_ref().unwrap();
        assert_eq!(error.code, code);
        assert!(error.message.contains("visit") && !error.message.contains("TOMTOM"), "{}", error.message);
        assert!(view.tables[0].files.is_empty());
        // Tried once: it would be the same again.
        let attempts: i32 =
            sqlx::query_scalar("SELECT max(attempts) FROM export_job_partitions WHERE state = 'FAILED'")
                .fetch_one(&platform.metadata)
                .await
                .unwrap();
        assert_eq!(attempts, 1);
        let manifest = ObjectKey::new(format!("dev/by_hand/{job}/manifest")).unwrap();
        assert!(store.head(&manifest).await.unwrap().is_none());
        let uploads: i64 = sqlx::query_scalar("SELECT count(*) FROM export_staged_objects")
            .fetch_one(&platform.metadata)
            .await
            .unwrap();
        // Without a key no upload was even begun.
        assert_eq!(uploads == 0, case == "no_key", "{uploads}");
        worker.stop().await;
    }
}
