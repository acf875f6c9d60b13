//! What administrators are told of days: which are exported, failed, missing, under way or not over, and what changes that.

use std::time::Duration;

use chrono::NaiveDate;
use data_exporter::error::ErrorCode;
use data_exporter::jobs::coverage::{Coverage, DayCoverage, DayState};
use data_exporter::jobs::days::{DayRun, Days, Fire, Now};
use serde_json::{Value, json};

use crate::support::calendar;
use crate::support::days::{self, day};
use crate::support::endpoint::{Endpoint, Options};
use crate::support::offered::{offer, run};
use crate::support::platform::Platform;

async fn told(coverage: &Coverage, date: &str) -> DayCoverage {
    let date: NaiveDate = date.parse().unwrap();
    let mut days = coverage.days(date, date).await.unwrap();
    assert_eq!(days.len(), 1, "{date}");
    days.remove(0)
}

/// A table of a day in a few words: name, status, revision, published revision, rows.
type Told<'a> = (&'a str, &'a str, i32, Option<i32>, Option<i64>);

fn tables(day: &DayCoverage) -> Vec<Told<'_>> {
    let tables = day.tables.iter();
    tables.map(|t| (t.name.as_str(), t.status.as_str(), t.revision, t.published_revision, t.rows)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn days_stand_as_they_are() {
    calendar::away_from_midnight().await;
    let platform = Platform::empty("coverage_days").await;
    run(
        &platform.warehouse,
        "CREATE TABLE event (id bigint, at timestamptz, note text);
         CREATE TABLE odd (id bigint, at timestamptz, note text);
         INSERT INTO event VALUES (1, '2026-03-02 10:00Z', 'a'), (2, '2026-03-02 11:00Z', 'b'),
             (3, '2026-03-03 12:00Z', 'c')",
    )
    .await;
    for table in ["event", "odd"] {
        offer(&platform, table, "timestamp", "UTC").await;
    }
    let coverage = Coverage::new(platform.metadata.clone(), "UTC");
    let today = coverage.today().await.unwrap();

    let never = told(&coverage, "2026-03-02").await;
    assert_eq!((never.state, never.revision, never.tables.len()), (DayState::Missing, None, 0));
    assert_eq!(told(&coverage, &today.to_string()).await.state, DayState::NotOver);
    // Nobody was there when the schedule fired.
    let calendar = Days::new(platform.metadata.clone());
    let fire = Fire { at: "2026-03-02T02:00:00Z".parse().unwrap(), day: day("UTC", "2026-03-01"), missed: true };
    let begin = Now::At("2026-03-01T00:00:00Z".parse().unwrap());
    calendar.decide("daily", Duration::ZERO, begin, |_, _| vec![fire]).await.unwrap();
    assert_eq!(told(&coverage, "2026-03-01").await.state, DayState::Missed);

    // A day that waits: nobody works yet.
    let (second, third) = (day("UTC", "2026-03-02"), day("UTC", "2026-03-03"));
    let only = ["event".to_owned()];
    let part =
        DayRun { schedule: "daily", day: &third, tables: Some(&only), requested_by: "test", lag: Duration::ZERO };
    calendar.run(&part).await.unwrap();
    let waiting = told(&coverage, "2026-03-03").await;
    assert_eq!((waiting.state, waiting.revision), (DayState::InProgress, Some(1)));
    assert_eq!(waiting.lacking, ["event", "odd"]);

    let _worker = days::worker(&platform).await;
    days::closed(&platform, &third).await;
    // What was published is one table, because nobody asked for the other.
    let partial = told(&coverage, "2026-03-03").await;
    assert_eq!((partial.state, partial.lacking.as_slice()), (DayState::Incomplete, &["odd".to_owned()][..]));
    assert_eq!(tables(&partial), [("event", "COMPLETED", 1, Some(1), Some(1))]);

    assert!(days::export(&platform, &second, None).await);
    let exported = told(&coverage, "2026-03-02").await;
    assert_eq!((exported.state, exported.revision, exported.rows()), (DayState::Exported, Some(1), 2));
    assert_eq!(
        tables(&exported),
        [("event", "COMPLETED", 1, Some(1), Some(2)), ("odd", "COMPLETED", 1, Some(1), Some(0))]
    );
    assert!(exported.lacking.is_empty() && exported.error.is_none());

    // Restated, and one table fails: its first revision is what is out.
    run(&platform.metadata, "UPDATE export_tables SET time_column = 'gone' WHERE table_name = 'odd'").await;
    assert!(!days::export(&platform, &second, None).await);
    let failed = told(&coverage, "2026-03-02").await;
    assert_eq!((failed.state, failed.revision), (DayState::Incomplete, Some(2)));
    assert_eq!(tables(&failed), [("event", "COMPLETED", 2, Some(2), Some(2)), ("odd", "FAILED", 2, Some(1), None)]);
    assert!(failed.tables[1].error.is_some());
    // A table that is enabled later makes no day incomplete that was exported before.
    run(&platform.metadata, "UPDATE export_tables SET time_column = 'at' WHERE table_name = 'odd'").await;
    assert!(days::export(&platform, &second, Some(&["odd".to_owned()])).await);
    offer(&platform, "later", "timestamp", "UTC").await;
    let again = told(&coverage, "2026-03-02").await;
    assert_eq!((again.state, again.revision, again.lacking), (DayState::Exported, Some(3), vec!["later".to_owned()]));

    // A range, in its order, and the ranges that are none.
    let range = |from: &str, to: &str| {
        let (coverage, from, to) = (coverage.clone(), from.parse().unwrap(), to.parse().unwrap());
        async move { coverage.days(from, to).await.map_err(|failure| failure.code) }
    };
    let states: Vec<DayState> =
        range("2026-03-01", "2026-03-04").await.unwrap().into_iter().map(|day| day.state).collect();
    assert_eq!(states, [DayState::Missed, DayState::Exported, DayState::Incomplete, DayState::Missing]);
    assert_eq!(range("2026-03-02", "2026-03-01").await, Err(ErrorCode::RangeInvalid));
    assert_eq!(range("2025-01-01", "2026-02-04").await.unwrap().len(), 400);
    assert_eq!(range("2025-01-01", "2026-02-05").await, Err(ErrorCode::RangeTooLong));
    // Samoa has had no 30 December 2011.
    let samoa = Coverage::new(platform.metadata.clone(), "Pacific/Apia");
    let skipped = samoa.days("2011-12-29".parse().unwrap(), "2011-12-31".parse().unwrap()).await.unwrap();
    assert_eq!(skipped.iter().map(|day| day.date.to_string()).collect::<Vec<_>>(), ["2011-12-29", "2011-12-31"]);

    // From the shell.
    let output = platform.program(&["coverage", "--from", "2026-03-01", "--to", "2026-03-04"]).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for line in
        ["2026-02-23                     m", "2026-03-02   x  !  -", "1 of 4 days that are over are exported, 3 rows"]
    {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(
        text.contains("2026-03-03 Tue  incomplete, revision 1") && text.contains("scheduled now: later, odd"),
        "{text}"
    );
    let arguments = ["--json", "coverage", "--from", "2026-03-02", "--to", "2026-03-02"];
    let output = platform.program(&arguments).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found[0]["state"], &found[0]["tables"][1]["revision"]), (&json!("EXPORTED"), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_are_filtered_by_day_and_revision() {
    let endpoint = Endpoint::with("statuses_filter", Options::default()).await;
    for (date, table, revision, status) in [
        ("2026-03-01", "event", 1, "COMPLETED"),
        ("2026-03-02", "event", 1, "COMPLETED"),
        ("2026-03-02", "event", 2, "FAILED"),
        ("2026-03-02", "kind", 1, "COMPLETED"),
    ] {
        sqlx::query(
            "INSERT INTO table_export_job_statuses (job_id, kind, tenant, schedule, table_name, export_date, window_start,
                 window_end, revision, status, manifest_url, error_code, completed_at)
             VALUES (gen_random_uuid(), 'scheduled', 'default', 'daily', $2, $1::date, $1::date, $1::date + 1, $3, $4,
                 CASE $4 WHEN 'COMPLETED' THEN 's3://b/k' END, CASE $4 WHEN 'FAILED' THEN 'INTERNAL' END,
                 clock_timestamp())",
        )
        .bind(date.parse::<NaiveDate>().unwrap())
        .bind(table)
        .bind(revision)
        .bind(status)
        .execute(&endpoint.pool)
        .await
        .unwrap();
    }
    for (filter, expected) in [
        ("{}", &["2026-03-01 event 1", "2026-03-02 event 1", "2026-03-02 event 2", "2026-03-02 kind 1"][..]),
        ("{from: \"2026-03-02\"}", &["2026-03-02 event 1", "2026-03-02 event 2", "2026-03-02 kind 1"]),
        ("{to: \"2026-03-01\"}", &["2026-03-01 event 1"]),
        ("{revision: 2}", &["2026-03-02 event 2"]),
        ("{latest: true}", &["2026-03-01 event 1", "2026-03-02 event 2", "2026-03-02 kind 1"]),
        ("{latest: true, status: \"COMPLETED\"}", &["2026-03-01 event 1", "2026-03-02 kind 1"]),
        (
            "{from: \"2026-03-02\", to: \"2026-03-02\", table: \"event\", kind: SCHEDULED, latest: false}",
            &["2026-03-02 event 1", "2026-03-02 event 2"],
        ),
        ("{kind: ON_DEMAND}", &[]),
    ] {
        let query = format!(
            "{{ tableExportJobStatuses(filter: {filter}) {{ edges {{ node {{ exportDate table revision }} }} }} }}"
        );
        let data = endpoint.data(&query, json!({})).await;
        let mut found: Vec<String> = data["tableExportJobStatuses"]["edges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|edge| &edge["node"])
            .map(|node| {
                format!(
                    "{} {} {}",
                    node["exportDate"].as_str().unwrap(),
                    node["table"].as_str().unwrap(),
                    node["revision"]
                )
            })
            .collect();
        found.sort();
        assert_eq!(found, expected, "{filter}");
    }
}
