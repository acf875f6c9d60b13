//! The main job with real processes: one that answers, workers that come and go, and readers that know nothing of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use data_exporter::local::s3::Operation;
use serde_json::Value;

use crate::support::platform::{Platform, Service, day_range, download, sql_day};
use crate::support::readers;

/// What must be in the files: columns, time column and rows, written down by hand from the shipped rules.
pub(crate) const EXPECTED: &[(&str, &[&str], &str, &str)] = &[
    ("cctv", &["camera_id", "name", "lon", "lat", "installed", "capabilities", "seen_at"], "seen_at", "true"),
    (
        "incident",
        &["incident_id", "kind", "severity", "description", "reported_at", "cleared_at", "details"],
        "reported_at",
        "true",
    ),
    (
        "probe_speed",
        &[
            "id",
            "ts",
            "way_id",
            "source",
            "speed_kmh",
            "heading",
            "lon=round(lon * '1000'::float8) / '1000'::float8",
            "lat=round(lat * '1000'::float8) / '1000'::float8",
        ],
        "ts",
        "source = 'FUSION'",
    ),
    (
        "sensor_metric",
        &["sensor_id", "metric_name", "metric_value", "unit", "recorded_epoch"],
        "to_timestamp(recorded_epoch)",
        "metric_name IN ('air_temperature', 'flow', 'mean_speed', 'occupancy', 'rain_intensity')",
    ),
    (
        "travel_time",
        &["segment_id", "measured_at", "travel_time_s", "free_flow_s", "confidence", "source", "day", "at"],
        "measured_at AT TIME ZONE 'UTC'",
        "source = 'FUSION'",
    ),
    ("vms", &["vms_id", "message", "lines", "luminance", "layout", "pictogram", "shown_at"], "shown_at", "true"),
    (
        "way",
        &[
            "way_id",
            "name",
            "ref",
            "road_class",
            "lanes",
            "length_m",
            "max_speed",
            "oneway",
            "tags",
            "geometry_wkt",
            "source",
            "updated_at",
        ],
        "updated_at",
        "true",
    ),
];

/// The sample warehouse, its texts attested: removing personal data from them is not what is looked at here.
async fn sample(name: &str, rows: u64) -> Platform {
    let platform = Platform::sample(name, rows).await;
    sqlx::query(
        "UPDATE data_column_classification SET pii_exempt_by = 'test', pii_exempt_reason = 'exact', pii_exempt_until = '2099-12-31'
         WHERE (table_name, column_name) IN (('incident', 'description'), ('incident', 'details'), ('way', 'tags'))",
    )
    .execute(&platform.metadata)
    .await
    .unwrap();
    platform
}

/// Every link of a finished request holds what the warehouse has, as two readers read it.
async fn assert_exact(platform: &Platform, status: &Value) {
    let files = download(status, &platform.folder.path().join("downloads")).await;
    let tables: BTreeSet<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(tables, EXPECTED.iter().map(|(table, ..)| *table).collect());
    let (start, end) = sql_day();
    for (table, columns, time, rows) in EXPECTED {
        let expected = platform.folder.path().join(format!("{table}.expected"));
        let condition = format!("{time} >= '{start}' AND {time} < '{end}' AND {rows}");
        readers::expect(&platform.warehouse, table, columns, &condition, &expected).await;
        assert!(readers::compare(&expected, &files[*table]) > 0, "{table} is empty, and proves nothing");
    }
}

/// Nothing is left under `_staging` soon after the end.
async fn assert_staging_empties(platform: &Platform) {
    let client = crate::support::s3::bare_client(&platform.s3.endpoint());
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let list =
            client.list_objects_v2().bucket(crate::support::s3::BUCKET).prefix("dev/_staging/").send().await.unwrap();
        let uploads = client.list_multipart_uploads().bucket(crate::support::s3::BUCKET).send().await.unwrap();
        let left = list.contents().len() + uploads.uploads().len();
        if left == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{left} staged objects or uploads are left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn extracted(worker: &Service) -> usize {
    worker.logged().lines().filter(|line| line.contains(" extracted ")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_answers_and_two_workers_export_exactly_what_may_leave() {
    let platform = sample("three_processes", 120_000).await;
    let small = [("EXPORTER_PARTITION_TARGET_BYTES", "1048576"), ("EXPORTER_MAX_CONCURRENT_PARTITIONS", "1")];
    let api = platform.serve("api", "api", &[]).await;
    let workers = [platform.serve("first", "worker", &small).await, platform.serve("second", "worker", &small).await];

    let id = api.request(day_range()).await;
    let status = api.finished(&id).await;
    assert_eq!(status["status"], "Completed", "{status}\n{}", workers[0].logged());
    assert_exact(&platform, &status).await;
    assert!(workers.iter().all(|worker| extracted(worker) > 0), "both workers took part");
    assert!(
        status["dataRequestDownloadLinks"]["probe_speed"].as_array().unwrap().len() > 1,
        "a large table has several files"
    );
    assert_staging_empties(&platform).await;

    // A table without a time column is listed as skipped, one that is not enabled is not listed at all.
    let tables = status["tables"].as_array().unwrap();
    let skipped: Vec<&Value> = tables.iter().filter(|table| table["status"] == "SKIPPED").collect();
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0]["name"], "road_class_reference");
    assert_eq!(skipped[0]["error"]["code"], "TABLE_WITHOUT_TIME");
    assert!(tables.iter().all(|table| table["name"] != "driver_registry"));

    // The same range again is another export, in a directory of its own.
    let again = api.request(day_range()).await;
    assert_ne!(again, id);
    let second = api.finished(&again).await;
    let link = |status: &Value| status["dataRequestDownloadLinks"]["way"][0].as_str().unwrap().to_owned();
    assert!(link(&second).contains("_r2/way_000.parquet"), "{}", link(&second));
    assert_eq!(reqwest::get(link(&status)).await.unwrap().status(), 200, "the first one's files are still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_mid_partition_is_replaced_within_ten_seconds() {
    let platform = sample("killed_worker", 120_000).await;
    let settings = [("EXPORTER_MAX_CONCURRENT_PARTITIONS", "1"), ("EXPORTER_PARTITION_TARGET_BYTES", "1048576")];
    let api = platform.serve("api", "api", &[]).await;
    let mut victim = platform.serve("victim", "worker", &settings).await;
    // So slow that the victim certainly dies in the middle of an upload.
    platform.s3.faults().bandwidth(Some(200));
    let id = api.request(day_range()).await;
    let victims: i64 = loop {
        let running: Option<i64> =
            sqlx::query_scalar("SELECT id FROM export_job_partitions WHERE state = 'RUNNING' AND rows_seen > 0")
                .fetch_optional(&platform.metadata)
                .await
                .unwrap();
        if let (Some(running), 1..) = (running, platform.s3.faults().seen(Operation::UploadPart)) {
            break running;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // What has begun stays slow: the heir's requests are not.
    platform.s3.faults().bandwidth(None);
    let heir = platform.serve("heir", "worker", &[("EXPORTER_MAX_CONCURRENT_PARTITIONS", "4"), settings[1]]).await;
    victim.child.kill().await.unwrap();
    let killed = Instant::now();
    loop {
        let (epoch, crashes, state): (i64, i32, String) =
            sqlx::query_as("SELECT lease_epoch, crashes, state FROM export_job_partitions WHERE id = $1")
                .bind(victims)
                .fetch_one(&platform.metadata)
                .await
                .unwrap();
        // Epoch 1 was the victim's, 2 the reaper's, 3 is the heir's.
        if epoch >= 3 && state != "PENDING" {
            assert_eq!(crashes, 1);
            break;
        }
        assert!(killed.elapsed() < Duration::from_secs(10), "nobody has taken over: {}", heir.logged());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = api.finished(&id).await;
    assert_eq!(status["status"], "Completed", "{status}\n{}", heir.logged());
    assert_exact(&platform, &status).await;
    assert_staging_empties(&platform).await;
    let attempts: i32 = sqlx::query_scalar("SELECT max(attempts) FROM export_job_partitions")
        .fetch_one(&platform.metadata)
        .await
        .unwrap();
    assert_eq!(attempts, 1, "a lost worker is no attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_gives_its_work_back() {
    let platform = sample("stopped_worker", 60_000).await;
    let settings = [("EXPORTER_MAX_CONCURRENT_PARTITIONS", "1")];
    let api = platform.serve("api", "api", &[]).await;
    let mut first = platform.serve("first", "worker", &settings).await;
    platform.s3.faults().bandwidth(Some(200));
    let id = api.request(day_range()).await;
    loop {
        let running: i64 =
            sqlx::query_scalar("SELECT count(*) FROM export_job_partitions WHERE state = 'RUNNING' AND rows_seen > 0")
                .fetch_one(&platform.metadata)
                .await
                .unwrap();
        if running > 0 && platform.s3.faults().seen(Operation::UploadPart) > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let process = i32::try_from(first.child.id().unwrap()).unwrap();
    let told = std::process::Command::new("kill").args(["-TERM", &process.to_string()]).status().unwrap();
    assert!(told.success());
    let ended =
        tokio::time::timeout(Duration::from_secs(10), first.child.wait()).await.expect("it ends in time").unwrap();
    assert_eq!(ended.code(), Some(0), "{}", first.logged());
    let (running, attempts, crashes): (i64, i32, i32) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE state = 'RUNNING'), max(attempts) FILTER (WHERE state = 'PENDING'), max(crashes) FROM export_job_partitions",
    )
    .fetch_one(&platform.metadata)
    .await
    .unwrap();
    assert_eq!((running, attempts, crashes), (0, 0, 0), "given back, and not counted");
    platform.s3.faults().bandwidth(None);
    let second = platform.serve("second", "worker", &settings).await;
    let status = api.finished(&id).await;
    assert_eq!(status["status"], "Completed", "{status}\n{}", second.logged());
    assert_exact(&platform, &status).await;
}
