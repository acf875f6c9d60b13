//! What is counted: the numbers of manifests, metrics and the calendar are those of the warehouse and of each other.

use std::collections::BTreeMap;

use data_exporter::jobs::days::{DayRun, Days};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::support::days::{self, day};
use crate::support::offered::{offer, run};
use crate::support::platform::{Platform, Service, day_range};
use crate::support::s3;

/// The series of a service whose names begin so, with their values.
async fn series(service: &Service, name: &str) -> BTreeMap<String, u64> {
    let metrics = reqwest::get(service.url("/metrics")).await.unwrap().text().await.unwrap();
    let lines = metrics.lines().filter(|line| line.starts_with(name));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, count)| (name.to_owned(), count.parse().unwrap()))
        .collect()
}

async fn count(platform: &Platform, condition: &str) -> i64 {
    let query = format!("SELECT count(*) FROM event WHERE at >= '2026-03-02' AND at < '2026-03-03' AND ({condition})");
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&platform.warehouse).await.unwrap()
}

/// The manifest of the table that a link leads into.
async fn manifest(platform: &Platform, link: &Value) -> Value {
    let file = link.as_str().unwrap().split('?').next().unwrap();
    let (folder, _) = file.split_once(&format!("/{}/", s3::BUCKET)).unwrap().1.rsplit_once('/').unwrap();
    serde_json::from_slice(&days::read(platform, &format!("{folder}/manifest")).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_policy_holds_back_are_counted_as_that_and_as_nothing_else() {
    let platform = Platform::empty("counts_held").await;
    // Of each source, and of none, another number of rows on the day; and some on the days around it.
    run(
        &platform.warehouse,
        "SET TimeZone = 'UTC'; CREATE TABLE event (id bigint, at timestamptz, note text);
         INSERT INTO event SELECT g, timestamptz '2026-03-01 12:00Z' + g * interval '1 hour',
             CASE WHEN g % 9 = 0 THEN NULL WHEN g % 3 = 0 THEN 'theirs' WHEN g % 7 = 0 THEN 'unknown' ELSE 'ours' END
         FROM generate_series(0, 47) AS g",
    )
    .await;
    offer(&platform, "event", "timestamp", "UTC").await;
    run(
        &platform.metadata,
        "UPDATE export_tables SET source_column = 'note';
         UPDATE data_column_classification SET classification = 'mx', pii_exempt_by = NULL, pii_exempt_reason = NULL,
             pii_exempt_until = NULL WHERE column_name = 'id';
         INSERT INTO actual_data_classifications VALUES ('ours', 'nr'), ('theirs', 'de')",
    )
    .await;
    let ours = count(&platform, "note = 'ours'").await;
    let held = count(&platform, "note IS DISTINCT FROM 'ours'").await;
    assert!(ours > held && held > 3 && ours + held == 24, "{ours} {held}");

    let service = platform.serve("all", "api,worker", &[]).await;
    let day = day("UTC", "2026-03-02");
    let asked =
        DayRun { schedule: "daily", day: &day, tables: None, requested_by: "test", lag: std::time::Duration::ZERO };
    Days::new(platform.metadata.clone()).run(&asked).await.unwrap();
    assert!(days::closed(&platform, &day).await);
    let status = service.finished(&service.request(day_range()).await).await;
    assert_eq!(status["tables"][0]["rows"], json!(ours), "{status}");

    let on_demand = manifest(&platform, &status["dataRequestDownloadLinks"]["event"][0]).await;
    for manifest in [days::manifest(&platform, &day, "event").await, on_demand] {
        let sums = (&manifest["meta"]["record_count"], &manifest["export"]["gate"]["rows"]);
        assert_eq!(sums, (&json!(ours), &json!(ours)), "{manifest}");
        let entries = manifest["entries"].as_array().unwrap();
        assert_eq!(entries.iter().map(|entry| entry["meta"]["record_count"].as_i64().unwrap()).sum::<i64>(), ours);
    }
    // Read twice, by the day and by the request, and neither time what is held back.
    let read = series(&service, "exporter_rows_read_total").await;
    assert_eq!(read.values().copied().collect::<Vec<_>>(), [2 * u64::try_from(ours).unwrap()], "{read:?}");

    let query = "{ isExported(table: \"event\", date: \"2026-03-02\") { complete rowsNow rowsHeldBack lateRows }
        coverage(from: \"2026-03-02\", to: \"2026-03-02\") { rows } }";
    let answer = service.ask(query).await;
    let told = json!({"complete": true, "rowsNow": ours, "rowsHeldBack": held, "lateRows": 0});
    assert_eq!(answer["data"]["isExported"], told, "{answer}");
    assert_eq!(answer["data"]["coverage"][0]["rows"], json!(ours), "{answer}");
    let explained = ["--json", "classification", "explain", "event", "--from", "2026-03-02", "--to", "2026-03-03"];
    let explained = platform.program(&explained).output().await.unwrap();
    let explained: Value = serde_json::from_slice(&explained.stdout).unwrap();
    let counts = &explained["counts"];
    assert_eq!((&counts["inWindow"], &counts["exported"]), (&json!(ours + held), &json!(ours)), "{explained}");
    assert_eq!(explained["rowRules"][0]["rowsHeldBack"], json!(held), "{explained}");
}

/// Values that no file can hold, under each policy, in two files: the metric is the manifest's report, summed over its
/// reasons.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_files_do_not_hold_are_counted_by_the_metric_as_by_the_manifest() {
    let platform = Platform::empty("counts_unfaithful").await;
    run(
        &platform.warehouse,
        "CREATE TABLE event (id bigint, at timestamptz, note text, nulled timestamptz, clamped date, spelled timestamptz,
             plain timestamptz, amount numeric(5,2));
         INSERT INTO event SELECT g, timestamptz '2026-03-02 00:00Z' + g * interval '1 second', repeat('x', 100),
             CASE g % 4 WHEN 0 THEN 'infinity' WHEN 1 THEN '294276-12-31' WHEN 2 THEN '2026-03-02' END::timestamptz,
             CASE g % 5 WHEN 0 THEN '-infinity' WHEN 1 THEN '10000-01-01' WHEN 2 THEN '2026-03-02' END::date,
             'infinity', '2026-03-02', CASE WHEN g % 10 = 0 THEN 'NaN'::numeric ELSE 1 END
         FROM generate_series(0, 19999) AS g; CREATE INDEX ON event (at); ANALYZE event",
    )
    .await;
    offer(&platform, "event", "timestamp", "UTC").await;
    run(
        &platform.metadata,
        "INSERT INTO data_column_classification SELECT 'event', name, 'nr', 'test', 'made up', '2099-12-31'
         FROM unnest(ARRAY['nulled', 'clamped', 'spelled', 'plain', 'amount']) AS name;
         INSERT INTO column_export_options (table_name, column_name, on_unrepresentable)
         VALUES ('event', 'nulled', 'null'), ('event', 'clamped', 'clamp'), ('event', 'spelled', 'text'),
             ('event', 'plain', 'clamp'), ('event', 'amount', 'null')",
    )
    .await;
    let service = platform.serve("all", "api,worker", &[("EXPORTER_PARTITION_TARGET_BYTES", "1048576")]).await;
    let status = service.finished(&service.request(day_range()).await).await;
    assert_eq!(status["status"], "Completed", "{status}");
    let links = status["dataRequestDownloadLinks"]["event"].as_array().unwrap();
    assert!(links.len() > 1, "several files: {links:?}");
    let manifest = manifest(&platform, &links[0]).await;
    let fidelity = &manifest["export"]["fidelity"];
    assert_eq!(
        *fidelity,
        json!({
            "amount": {"nulled": {"the number is NaN": 2_000}},
            "clamped": {"clamped": {"the date is infinite": 4_000, "it is after the year 9999": 4_000}},
            "nulled": {"nulled": {"the timestamp is infinite": 5_000, "the timestamp is after the year 294246": 5_000}},
        })
    );
    let mut wanted = BTreeMap::new();
    for (column, done) in fidelity.as_object().unwrap() {
        for (action, reasons) in done.as_object().unwrap() {
            let labels = format!("table=\"event\",column=\"{column}\",action=\"{action}\"");
            let sum: u64 = reasons.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
            wanted.insert(format!("exporter_values_unfaithful_total{{{labels}}}"), sum);
        }
    }
    // Nothing of the column whose policy is text, since its file holds what the warehouse has, and of the one without any.
    assert_eq!(series(&service, "exporter_values_unfaithful_total").await, wanted);
}
