//! A night of the sample warehouse: the schedule fires, two processes export the day, one of them is killed while it holds a
//! lease, and SNS is away for the first half. In the morning every table is right, and everybody has been told.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use data_exporter::local::sample::{self, SampleOptions};
use data_exporter::rules::shipped;
use secrecy::SecretString;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::export_processes::EXPECTED;
use crate::support::offered::{offer, run};
use crate::support::platform::{Platform, Service};
use crate::support::sns::{Delivered, Gate, Topic};
use crate::support::{readers, s3};

/// What is exported whole, since it has no time.
const REFERENCE: (&str, &[&str], &str) =
    ("road_class_reference", &["road_class", "title", "default_speed", "toll", "valid_from"], "true");

struct Night {
    platform: Platform,
    topic: Topic,
    /// The day that has ended, by the database's clock.
    date: NaiveDate,
    /// When its fire was due.
    fire: DateTime<Utc>,
}

impl Night {
    /// Everything but processes. One table cannot be read, and one has a column that nobody has classified.
    async fn new() -> Self {
        let platform = Platform::empty("night").await;
        let fire: DateTime<Utc> = sqlx::query_scalar("SELECT date_trunc('second', clock_timestamp())")
            .fetch_one(&platform.metadata)
            .await
            .unwrap();
        let date = fire.date_naive() - TimeDelta::days(1);
        let options = SampleOptions { rows: 40_000, ..SampleOptions::new(date) };
        sample::build(&SecretString::from(platform.warehouse_url.as_str()), &options).await.unwrap();
        platform.rules().apply(&shipped().unwrap(), "test").await.unwrap();
        offer(&platform, "odd", "timestamp", "UTC").await;
        run(
            &platform.warehouse,
            format!(
                "CREATE TABLE odd (id bigint, at timestamptz, note text);
                 INSERT INTO odd VALUES (1, '{date}T12:00Z', 'here');
                 ALTER TABLE vms ADD COLUMN operator_phone text"
            ),
        )
        .await;
        run(
            &platform.metadata,
            format!(
                "UPDATE data_column_classification
                 SET pii_exempt_by = 'test', pii_exempt_reason = 'exact', pii_exempt_until = '2099-12-31'
                 WHERE (table_name, column_name) IN (('incident', 'description'), ('incident', 'details'), ('way', 'tags'));
                 UPDATE export_tables SET time_column = 'gone' WHERE table_name = 'odd';
                 INSERT INTO export_schedules (schedule, decided_until) VALUES ('daily', '{}')",
                (fire - TimeDelta::seconds(1)).to_rfc3339()
            ),
        )
        .await;
        Self { topic: Topic::start().await, platform, date, fire }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("EXPORTER_SCHEDULE", self.fire.format("%-S %-M %-H %-d %-m *").to_string()),
            ("EXPORTER_SNS_TOPIC_ARN", self.topic.arn.clone()),
            ("AWS_ENDPOINT_URL_SNS", self.topic.endpoint.clone()),
            ("EXPORTER_PARTITION_TARGET_BYTES", "1048576".to_owned()),
            ("EXPORTER_MAX_CONCURRENT_PARTITIONS", "1".to_owned()),
        ]
    }

    /// A process with both roles.
    async fn process(&self, name: &str) -> (Uuid, Service) {
        let settings = self.settings();
        let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let service = self.platform.serve(name, "worker,scheduler", &settings).await;
        let logged = service.logged();
        let id = logged.split("worker=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        (id, service)
    }

    async fn one<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&self.platform.metadata).await.unwrap()
    }

    /// Waits until this is so.
    async fn until(&self, condition: &str) {
        let deadline = Instant::now() + Duration::from_secs(180);
        while !self.one::<bool>(&format!("SELECT {condition}")).await {
            assert!(Instant::now() < deadline, "never: {condition}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// An object, past everything of ours; `None` where there is none.
    async fn object(&self, key: &str) -> Option<Vec<u8>> {
        let client = s3::bare_client(&self.platform.s3.endpoint());
        let found = client.get_object().bucket(s3::BUCKET).key(key).send().await.ok()?;
        Some(found.body.collect().await.unwrap().to_vec())
    }

    fn folder(&self) -> String {
        format!("dev/{}", self.date.format("%Y/%m/%d"))
    }

    /// The rows of a table as two foreign readers find them in the files that its manifest lists are those of the
    /// warehouse. Returns how many there are, and their bytes.
    async fn right(&self, table: &str, columns: &[&str], condition: &str) -> (i64, i64) {
        let manifest = self.object(&format!("{}/{table}/_manifest", self.folder())).await.unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let folder = self.platform.folder.path().join("read").join(table);
        std::fs::create_dir_all(&folder).unwrap();
        let (mut files, mut bytes): (Vec<PathBuf>, i64) = (Vec::new(), 0);
        for entry in manifest["entries"].as_array().unwrap() {
            let key = entry["url"].as_str().unwrap().strip_prefix(&format!("s3://{}/", s3::BUCKET)).unwrap();
            let file = self.object(key).await.unwrap_or_else(|| panic!("{key} is listed and not there"));
            let hash: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((&entry["sha256"], &entry["meta"]["content_length"]), (&hash.into(), &file.len().into()));
            bytes += i64::try_from(file.len()).unwrap();
            files.push(folder.join(key.rsplit('/').next().unwrap()));
            std::fs::write(files.last().unwrap(), file).unwrap();
        }
        let expected = self.platform.folder.path().join(format!("{table}.expected"));
        readers::expect(&self.platform.warehouse, table, columns, condition, &expected).await;
        let rows = readers::compare(&expected, &files);
        assert!(rows > 0, "{table} is empty, and proves nothing");
        (i64::try_from(rows).unwrap(), bytes)
    }

    /// Every table's files and its row of statuses.
    async fn assert_tables(&self) {
        let next = self.date + TimeDelta::days(1);
        for (table, columns, time, rows) in EXPECTED {
            let condition = format!("{time} >= '{}T00:00Z' AND {time} < '{next}T00:00Z' AND {rows}", self.date);
            self.assert_table(table, columns, &condition).await;
        }
        let (table, columns, condition) = REFERENCE;
        self.assert_table(table, columns, condition).await;
    }

    async fn assert_table(&self, table: &str, columns: &[&str], condition: &str) {
        let (rows, bytes) = self.right(table, columns, condition).await;
        let status: (String, String, i64, i64, String) = sqlx::query_as(
            "SELECT kind, status, row_count, byte_count, manifest_url FROM table_export_job_statuses
             WHERE export_date = $1 AND table_name = $2 AND completed_at >= started_at AND attempts >= 1",
        )
        .bind(self.date)
        .bind(table)
        .fetch_one(&self.platform.metadata)
        .await
        .unwrap();
        let manifest = format!("s3://{}/{}/{table}/_manifest", s3::BUCKET, self.folder());
        assert_eq!(status, ("scheduled".to_owned(), "COMPLETED".to_owned(), rows, bytes, manifest), "{table}");
    }

    /// Takes from the queue behind the topic until everything has come that the outbox holds.
    /// With what was taken before.
    async fn delivered(&self, before: &[Delivered]) -> Vec<Delivered> {
        let told: Vec<String> = sqlx::query_scalar("SELECT event_id::text FROM export_notifications")
            .fetch_all(&self.platform.metadata)
            .await
            .unwrap();
        let (told, mut found) = (told.into_iter().collect::<BTreeSet<String>>(), before.to_vec());
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            found.extend(self.topic.take().await);
            let ids: BTreeSet<String> = found.iter().map(Delivered::event_id).collect();
            let missing: Vec<&String> = told.difference(&ids).collect();
            assert_eq!(ids.difference(&told).count(), 0, "what was told of was written down");
            if missing.is_empty() {
                return found;
            }
            assert!(Instant::now() < deadline, "never delivered: {missing:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Sends a signal by its name.
fn signal(service: &Service, name: &str) {
    let process = service.child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args([&format!("-{name}"), &process]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_with_a_killed_worker_and_without_sns_ends_right_and_told() {
    let night = Night::new().await;
    night.topic.set(Gate::Shut);
    let mut crew = vec![night.process("first").await, night.process("second").await];
    night.until("(SELECT count(*) = 1 FROM export_schedule_fires WHERE outcome = 'STARTED')").await;

    // In the middle, and so slow that whoever is killed holds what it reads.
    night.until("(SELECT count(*) >= 3 FROM export_job_partitions WHERE state = 'COMPLETED')").await;
    night.platform.s3.faults().bandwidth(Some(2_000));
    let held = "FROM export_job_partitions AS p JOIN export_staged_objects AS s
                  ON s.partition_id = p.id AND s.lease_epoch = p.lease_epoch
                WHERE p.state = 'RUNNING' AND p.rows_seen > 0 AND s.upload_id IS NOT NULL";
    // What it held when we looked, it may have handed in since: it is stopped first, and looked at again.
    let (holder, mut victim) = loop {
        night.until(&format!("EXISTS (SELECT 1 {held})")).await;
        let found: Option<Uuid> = night.one(&format!("SELECT (SELECT p.worker {held} LIMIT 1)")).await;
        let Some(holder) = found else { continue };
        let place = crew.iter().position(|(id, _)| *id == holder).unwrap();
        signal(&crew[place].1, "STOP");
        if night.one(&format!("SELECT EXISTS (SELECT 1 {held} AND p.worker = '{holder}')")).await {
            break (holder, crew.swap_remove(place).1);
        }
        signal(&crew[place].1, "CONT");
    };
    victim.child.kill().await.unwrap();
    let open: i64 = night.one(&format!("SELECT count(*) {held} AND p.worker = '{holder}'")).await;
    assert!(open > 0, "it was killed with a lease in its hands");
    night.platform.s3.faults().bandwidth(None);

    // Half of the tables later SNS comes back. Until then there was something to tell, and nobody to take it.
    night.until("(SELECT count(*) >= 4 FROM table_export_job_statuses WHERE status = 'COMPLETED')").await;
    night
        .until("EXISTS (SELECT 1 FROM export_notifications WHERE error_code IS NOT NULL OR sent_at IS NOT NULL)")
        .await;
    assert!(night.one::<bool>("SELECT bool_and(sent_at IS NULL AND dead_at IS NULL) FROM export_notifications").await);
    night.topic.set(Gate::Open);

    night.until("EXISTS (SELECT 1 FROM export_days WHERE closed_at IS NOT NULL)").await;
    night.until("(SELECT bool_and(sent_at IS NOT NULL) FROM export_notifications)").await;
    let crashes: i64 = night.one("SELECT sum(crashes) FROM export_job_partitions").await;
    assert!(crashes >= 1, "somebody else has done what the victim held");
    night.assert_tables().await;
    let failed: (String, String) = sqlx::query_as(
        "SELECT status, error_code FROM table_export_job_statuses WHERE table_name = 'odd' AND row_count IS NULL",
    )
    .fetch_one(&night.platform.metadata)
    .await
    .unwrap();
    assert_eq!(failed.0, "FAILED");
    let delivered = night.delivered(&[]).await;
    let of = |kind: &str| -> Vec<&Value> {
        delivered.iter().map(|one| &one.body).filter(|body| body["type"] == kind).collect()
    };
    assert!(of("COLUMN_DRIFT").iter().any(|body| body["columns"][0]["name"] == "operator_phone"), "{delivered:?}");
    assert!(of("TABLE_FAILED").iter().all(|body| body["error"]["code"] == failed.1.as_str()), "{delivered:?}");
    assert!(!of("TABLE_FAILED").is_empty());
    let told = of("DAY_COMPLETED_WITH_FAILURES")[0];
    assert_eq!((&told["counts"]["completed"], &told["counts"]["failed"]), (&8.into(), &1.into()));
    let summary = night.object(&format!("{}/_FAILED", night.folder())).await.unwrap();
    let summary: Value = serde_json::from_slice(&summary).unwrap();
    for table in told["tables"].as_array().unwrap() {
        let written = summary["tables"].as_array().unwrap().iter().find(|one| one["name"] == table["name"]).unwrap();
        for field in ["status", "rows", "bytes", "manifest"] {
            assert_eq!(table[field], written[field], "{table}");
        }
    }

    // In the morning somebody repairs the table and exports it again: the day is whole, and that is told, too.
    run(&night.platform.metadata, "UPDATE export_tables SET time_column = 'at' WHERE table_name = 'odd'").await;
    let mut again = night.platform.program(&["run", "--date", &night.date.to_string(), "--failed"]);
    let settings = night.settings();
    let done = again.envs(settings.iter().map(|(key, value)| (*key, value))).output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    night.until("(SELECT bool_and(sent_at IS NOT NULL) FROM export_notifications)").await;
    let delivered = night.delivered(&delivered).await;
    assert!(delivered.iter().any(|one| one.body["status"] == "COMPLETED" && one.body["counts"]["completed"] == 9));
    assert_eq!(night.right("odd", &["id", "at", "note"], "true").await.0, 1);
    night.assert_tables().await;
    assert!(night.object(&format!("{}/_FAILED", night.folder())).await.is_none());
    assert!(night.object(&format!("{}/_SUCCESS", night.folder())).await.is_some());
}
