//! What goes wrong in the middle: the job ends in FAILED with table, reason and code, the finished tables stay
//! downloadable, and no half-written file is ever listed; or it is waited out, and the result is whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_exporter::error::ErrorCode;
use data_exporter::jobs::{JobState, JobView, TableState};
use data_exporter::local::s3::{Fault, Operation};
use data_exporter::storage::{ObjectKey, ObjectStore};
use data_exporter::warehouse::postgres::PostgresOptions;

use crate::support::inprocess::{Running, Troubled};
use crate::support::platform::{Platform, sql_day};
use crate::support::s3;

const ROWS: u64 = 8_000;

/// The tables of the sample that are exported on demand.
const TABLES: usize = 7;

fn code(view: &JobView, table: &str) -> Option<String> {
    let table = view.tables.iter().find(|candidate| candidate.name.to_string() == table).unwrap();
    table.error.as_ref().map(|error| error.code.clone())
}

fn completed(view: &JobView) -> usize {
    view.tables.iter().filter(|table| table.state == TableState::Completed).count()
}

/// Every listed file is there, as large as it is said to be; a table that is not published lists none.
async fn assert_files_whole(platform: &Platform, view: &JobView) {
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    for table in &view.tables {
        assert_eq!(table.files.is_empty(), table.state != TableState::Completed, "{table:?}");
        for file in &table.files {
            let meta = store.head(&ObjectKey::new(&file.key).unwrap()).await.unwrap().unwrap();
            assert_eq!(i64::try_from(meta.size).unwrap(), file.bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_dropped_between_planning_and_reading_fails_its_table_alone() {
    let platform = Platform::sample("dropped_column", ROWS).await;
    let mut warehouse = Troubled::new(&platform, PostgresOptions::default());
    warehouse.before_scan = Some("ALTER TABLE way DROP COLUMN lanes".to_owned());
    let worker = Running::start(&platform, Arc::new(warehouse)).await;
    let view = worker.finished(worker.request(&[]).await).await;
    assert_eq!(view.state, JobState::Failed);
    assert_eq!(code(&view, "way").as_deref(), Some("SCHEMA_CHANGED"));
    assert_eq!(completed(&view), TABLES - 1);
    let message = view.error.as_ref().unwrap().message.clone();
    assert!(message.contains("1 of 7 tables failed; way") && message.contains("lanes"), "{message}");
    assert!(view.progress < 100.0);
    assert_files_whole(&platform, &view).await;

    // The next request is planned anew, without the column, and says so.
    let again = worker.finished(worker.request(&["way"]).await).await;
    assert_eq!(again.state, JobState::Completed, "{:?}", again.error);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_comes_back_is_waited_for_and_one_that_does_not_fails() {
    for (away, state) in [(2, JobState::Completed), (usize::MAX, JobState::Failed)] {
        let platform = Platform::sample("warehouse_away", ROWS).await;
        let mut warehouse = Troubled::new(&platform, PostgresOptions::default());
        warehouse.away = Some(("vms".parse().unwrap(), away));
        let worker = Running::start(&platform, Arc::new(warehouse)).await;
        let view = worker.finished(worker.request(&[]).await).await;
        assert_eq!(view.state, state, "{:?}", view.error);
        if state == JobState::Failed {
            assert_eq!(code(&view, "vms").as_deref(), Some("WAREHOUSE_UNAVAILABLE"));
            assert_eq!(completed(&view), TABLES - 1);
            let (status, attempts): (String, i32) =
                sqlx::query_as("SELECT status, attempts FROM table_export_job_statuses WHERE table_name = 'vms'")
                    .fetch_one(&platform.metadata)
                    .await
                    .unwrap();
            assert_eq!((status.as_str(), attempts), ("FAILED", 3));
        }
        assert_files_whole(&platform, &view).await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_lost_in_mid_run_fails_with_its_name_and_comes_back_for_the_next() {
    let platform = Platform::sample("lost_bucket", ROWS).await;
    let mut warehouse = Troubled::new(&platform, PostgresOptions::default());
    warehouse.before_scan = Some("SELECT 1".to_owned());
    let worker = Running::start(&platform, Arc::new(warehouse)).await;
    platform.s3.faults().lose_bucket(s3::BUCKET);
    let view = worker.finished(worker.request(&["way", "vms"]).await).await;
    assert_eq!(view.state, JobState::Failed);
    let error = view.error.unwrap();
    assert_eq!(error.code, "BUCKET_NOT_FOUND");
    assert!(error.message.contains(s3::BUCKET), "{}", error.message);
    platform.s3.faults().restore_bucket(s3::BUCKET);
    let view = worker.finished(worker.request(&["way", "vms"]).await).await;
    assert_eq!(view.state, JobState::Completed);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_trouble_delays_and_corrupts_nothing() {
    let platform = Platform::sample("troubled_store", ROWS).await;
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let faults = platform.s3.faults();
    faults.often(None, 30, Fault::SlowDown);
    faults.next(Operation::CompleteMultipart, 2, Fault::DropAnswer);
    faults.next(Operation::CompleteMultipart, 2, Fault::ErrorBody);
    faults.next(Operation::CompleteMultipart, 2, Fault::ErrorBodyAfter);
    faults.next(Operation::Copy, 2, Fault::DropAnswer);
    faults.next(Operation::PutObject, 2, Fault::DropAnswer);
    let view = worker.finished(worker.request(&[]).await).await;
    faults.clear();
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    assert_files_whole(&platform, &view).await;
    let (start, end) = sql_day();
    let kept: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM probe_speed WHERE ts >= $1::timestamptz AND ts < $2::timestamptz AND source = 'FUSION'",
    )
    .bind(start)
    .bind(end)
    .fetch_one(&platform.warehouse)
    .await
    .unwrap();
    let exported = view.tables.iter().find(|table| table.name.to_string() == "probe_speed").unwrap();
    assert_eq!(exported.rows, kept);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_locked_while_it_is_planned_times_out_and_the_others_go_on() {
    let platform = Platform::sample("locked_table", ROWS).await;
    let mut lock = platform.warehouse.begin().await.unwrap();
    sqlx::query("LOCK TABLE cctv IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let options = PostgresOptions { statement_timeout: Duration::from_millis(1_500), ..PostgresOptions::default() };
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, options))).await;
    let view = worker.finished(worker.request(&[]).await).await;
    lock.rollback().await.unwrap();
    assert_eq!(view.state, JobState::Failed);
    assert_eq!(code(&view, "cctv").as_deref(), Some("WAREHOUSE_TIMEOUT"));
    assert_eq!(completed(&view), TABLES - 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_metadata_disk_loses_nothing() {
    let platform = Platform::sample("full_disk", ROWS).await;
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    // What PostgreSQL says when its disk is full, said by a trigger.
    let full = |table: &str, when: &str| {
        sqlx::AssertSqlSafe(format!(
            "CREATE OR REPLACE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
             CREATE TRIGGER disk_full BEFORE {when} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION disk_full()"
        ))
    };
    sqlx::raw_sql(full("export_jobs", "INSERT")).execute(&platform.metadata).await.unwrap();
    let (start, end) = crate::support::platform::day_range();
    let refused = worker
        .requests
        .submit(&data_exporter::jobs::NewRequest {
            tenant: data_exporter::jobs::Tenant::default(),
            requested_by: "test".to_owned(),
            start,
            end,
            tables: None,
            files: data_exporter::jobs::FileChoice::default(),
            idempotency_key: None,
        })
        .await
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::MetadataUnavailable);
    assert!(refused.message.contains("disk is full"), "{}", refused.message);
    sqlx::raw_sql("DROP TRIGGER disk_full ON export_jobs").execute(&platform.metadata).await.unwrap();

    // In mid-run: nothing can be claimed or committed while it lasts, and everything goes on after it.
    sqlx::raw_sql(full("table_export_job_statuses", "INSERT")).execute(&platform.metadata).await.unwrap();
    let job = worker.request(&[]).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while worker.view(job).await.state != JobState::Running {
        assert!(Instant::now() < deadline, "it does not run");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let during = worker.view(job).await;
    assert_eq!((during.state, completed(&during)), (JobState::Running, 0));
    sqlx::raw_sql("DROP TRIGGER disk_full ON table_export_job_statuses").execute(&platform.metadata).await.unwrap();
    let view = worker.finished(job).await;
    assert_eq!(view.state, JobState::Completed, "{:?}", view.error);
    assert_files_whole(&platform, &view).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_or_the_catalog_make_impossible_fails_before_a_byte_moves() {
    let platform = Platform::sample("impossible", ROWS).await;
    for statement in
        ["ALTER TABLE vms ADD COLUMN reach circle", "CREATE TABLE nothing_left (seen_at timestamptz, secret text)"]
    {
        sqlx::raw_sql(statement).execute(&platform.warehouse).await.unwrap();
    }
    for statement in [
        "INSERT INTO data_column_classification VALUES ('vms', 'reach', 'nr', 'test', 'numbers', '2099-12-31')",
        "INSERT INTO export_tables (table_name, time_column) VALUES ('not_there', 'seen_at'), ('nothing_left', 'seen_at')",
    ] {
        sqlx::raw_sql(statement).execute(&platform.metadata).await.unwrap();
    }
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let view = worker.finished(worker.request(&[]).await).await;
    assert_eq!(view.state, JobState::Failed);
    for (table, expected, words) in [
        ("vms", "TYPE_UNSUPPORTED", ["reach", "circle"]),
        ("not_there", "TABLE_NOT_FOUND", ["not_there", "export_tables"]),
        ("nothing_left", "NOTHING_EXPORTABLE", ["nothing_left", "rules"]),
    ] {
        let error = view.tables.iter().find(|t| t.name.to_string() == table).unwrap().error.clone().unwrap();
        assert_eq!(error.code, expected, "{table}: {}", error.message);
        assert!(words.iter().all(|word| error.message.contains(word)), "{}", error.message);
    }
    assert_eq!(completed(&view), TABLES - 1);
    let staged: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM export_staged_objects s JOIN export_job_partitions p ON p.id = s.partition_id WHERE p.table_name = 'vms'",
    )
    .fetch_one(&platform.metadata)
    .await
    .unwrap();
    assert_eq!(staged, 0, "no attempt was made");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_with_other_content_is_left_alone_and_fails_its_table() {
    let platform = Platform::sample("foreign_manifest", ROWS).await;
    let store = platform.s3.store(s3::BUCKET).await.unwrap();
    let key =
        ObjectKey::new("dev/data_exporter_service/vms/20260302/20260302T000000Z_20260303T000000Z/manifest").unwrap();
    store.put_if_absent(&key, bytes::Bytes::from_static(b"{}"), "application/json").await.unwrap();
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    let view = worker.finished(worker.request(&["vms", "way"]).await).await;
    assert_eq!(view.state, JobState::Failed);
    assert_eq!(code(&view, "vms").as_deref(), Some("MANIFEST_CONFLICT"));
    assert_eq!(completed(&view), 1);
    assert_eq!(store.get(&key).await.unwrap(), "{}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staged_file_that_is_not_what_was_committed_does_not_pass_the_gate() {
    let platform = Platform::sample("gate", ROWS).await;
    // The publisher must not be faster than the test.
    sqlx::raw_sql("UPDATE export_tables SET enabled = table_name IN ('vms', 'way')")
        .execute(&platform.metadata)
        .await
        .unwrap();
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    sqlx::raw_sql(
        "CREATE FUNCTION wrong_count() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN IF NEW.state = 'COMPLETED' AND NEW.table_name = 'vms' THEN NEW.row_count := NEW.row_count + 1; END IF; RETURN NEW; END $$;
         CREATE TRIGGER wrong_count BEFORE UPDATE ON export_job_partitions FOR EACH ROW EXECUTE FUNCTION wrong_count()",
    )
    .execute(&platform.metadata)
    .await
    .unwrap();
    let view = worker.finished(worker.request(&["vms", "way"]).await).await;
    assert_eq!(code(&view, "vms").as_deref(), Some("GATE_REFUSED"));
    assert_eq!((view.state, completed(&view)), (JobState::Failed, 1));
    worker.stop().await;
}
