//! What is told: with the fact that it tells of, or not at all, and once.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use data_exporter::api::Role;
use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::days::{Day, DayRun, Days, Decided, Fire, Now};
use data_exporter::jobs::outbox::{DriftedColumn, Event, Outbox, Place, SendingRules, tell};
use data_exporter::jobs::{JobId, Retry, Window};
use data_exporter::warehouse::postgres::PostgresOptions;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;

use crate::gate_publication::{MESSAGE_SEARCHED, change_plan};
use crate::support::endpoint::{Endpoint, Options};
use crate::support::inprocess::{Running, Troubled};
use crate::support::metadata;
use crate::support::platform::Platform;
use crate::support::queue::{plan, ready, staged, submit};

const STALL: Duration = Duration::from_secs(300);
const CELL: &str = "canary cell 77aa01";

fn outbox(pool: &PgPool) -> Outbox {
    Outbox::new(pool.clone(), SendingRules::default())
}

/// Types and bodies of what was told, in order.
async fn told(pool: &PgPool) -> Vec<(String, Value)> {
    sqlx::query_as("SELECT event_type, body FROM export_notifications ORDER BY occurred_at, event_id")
        .fetch_all(pool)
        .await
        .unwrap()
}

async fn types(pool: &PgPool) -> Vec<String> {
    told(pool).await.into_iter().map(|(kind, _)| kind).collect()
}

async fn sql(pool: &PgPool, statement: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(statement.into())).execute(pool).await.unwrap();
}

fn date() -> NaiveDate {
    "2026-03-02".parse().unwrap()
}

fn day() -> Day {
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let window = Window { start: at("2026-03-02T00:00:00Z"), end: at("2026-03-03T00:00:00Z") };
    Day { date: date(), window, time_zone: "UTC".to_owned() }
}

/// Starts the day, as somebody at a shell does.
async fn run(pool: &PgPool) -> JobId {
    let day = day();
    let run = DayRun { schedule: "daily", day: &day, tables: None, requested_by: "test", lag: Duration::ZERO };
    Days::new(pool.clone()).run(&run).await.unwrap().0
}

fn why(code: ErrorCode) -> Failure {
    Failure::new(code, "because")
}

#[tokio::test]
async fn a_failed_table_is_told_of_days_and_what_the_gate_found_of_everything() {
    let (pool, queue) = ready("notify_tables").await;
    for (scheduled, code, expected) in [
        (false, ErrorCode::SchemaChanged, &[][..]),
        (false, ErrorCode::GateFoundPersonalData, &["GATE_FINDING"]),
        (true, ErrorCode::SchemaChanged, &["TABLE_FAILED"]),
        (true, ErrorCode::GateFoundPersonalData, &["GATE_FINDING", "TABLE_FAILED"]),
    ] {
        sql(&pool, "TRUNCATE export_notifications").await;
        let job = if scheduled { run(&pool).await } else { submit(&pool, "default").await };
        plan(&queue, &[("way", 1)]).await;
        let task = queue.claim_partition().await.unwrap().unwrap();
        // An attempt that is not the last is nobody's business.
        queue.fail_partition(&task, &why(code), Retry::After(Duration::ZERO)).await.unwrap();
        assert!(types(&pool).await.is_empty());
        let task = queue.claim_partition().await.unwrap().unwrap();
        queue.complete_partition(&task, staged(&format!("{job}"))).await.unwrap();
        let task = queue.claim_table().await.unwrap().unwrap();
        queue.fail_publication(&task, &why(code), Retry::Never).await.unwrap();
        assert!(queue.fail_publication(&task, &why(code), Retry::Never).await.is_err(), "its lease is gone");
        let told = told(&pool).await;
        let mut kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, expected, "{scheduled} {code}");
        for (_, body) in told {
            let kind = if scheduled { "scheduled" } else { "on_demand" };
            assert_eq!(
                (&body["table"], &body["kind"], &body["jobId"]),
                (&json!("way"), &json!(kind), &json!(job.to_string()))
            );
            assert_eq!(body["error"], json!({"code": code.as_str(), "message": "because"}));
            assert_eq!(body["date"] == "2026-03-02", scheduled, "{body}");
        }
    }
}

/// Ends the day's job, with these tables: name and rows, or none where it failed.
async fn end(pool: &PgPool, job: JobId, revision: i32, tables: &[(&str, Option<i64>)]) {
    for (table, rows) in tables {
        let insert = "INSERT INTO table_export_job_statuses (job_id, kind, tenant, schedule, table_name, export_date,
                window_start, window_end, revision, status, row_count, byte_count, manifest_url, error_code, completed_at)
            SELECT $1, 'scheduled', 'default', 'daily', $2, '2026-03-02', window_start, window_end, $3,
                CASE WHEN $4::bigint IS NULL THEN 'FAILED' ELSE 'COMPLETED' END, $4, $4 * 8,
                CASE WHEN $4 IS NOT NULL THEN 's3://exports/' || $2 END,
                CASE WHEN $4 IS NULL THEN 'SCHEMA_CHANGED' END, clock_timestamp()
            FROM export_jobs WHERE id = $1";
        sqlx::query(insert).bind(job.0).bind(table).bind(revision).bind(rows).execute(pool).await.unwrap();
    }
    let ended = "UPDATE export_jobs SET state = 'COMPLETED', started_at = queued_at, completed_at = clock_timestamp() WHERE id = $1";
    sqlx::query(ended).bind(job.0).execute(pool).await.unwrap();
}

#[tokio::test]
async fn the_end_of_a_day_is_told_once_and_only_when_its_summary_is_written() {
    let (pool, queue) = ready("notify_days").await;
    type Case = (&'static [(&'static str, Option<i64>)], &'static str, (i64, i64, i64));
    let cases: &[Case] = &[
        (&[("way", Some(3)), ("vms", None)], "DAY_COMPLETED_WITH_FAILURES", (1, 1, 3)),
        // What had failed is done: nothing is restated.
        (&[("vms", Some(4))], "DAY_COMPLETED", (2, 0, 7)),
        (&[("way", Some(5))], "DAY_RESTATED", (2, 0, 9)),
        (&[("way", None)], "DAY_COMPLETED_WITH_FAILURES", (1, 1, 4)),
    ];
    for (revision, (tables, expected, counts)) in (1..).zip(cases) {
        sql(&pool, "TRUNCATE export_notifications").await;
        let job = run(&pool).await;
        end(&pool, job, revision, tables).await;
        let away = queue.close_day(|_| Box::pin(async { Err(why(ErrorCode::StorageUnavailable)) })).await;
        assert_eq!(away.unwrap_err().code, ErrorCode::StorageUnavailable);
        assert!(types(&pool).await.is_empty(), "nothing is out yet");
        let closing = (0..3).map(|_| queue.close_day(|_| Box::pin(async { Ok(true) })));
        let closed =
            futures::future::join_all(closing).await.into_iter().filter(|done| *done.as_ref().unwrap()).count();
        assert_eq!(closed, 1);
        let told = told(&pool).await;
        assert_eq!(told.len(), 1, "{told:?}");
        let (kind, body) = &told[0];
        assert_eq!((kind.as_str(), &body["revision"]), (*expected, &json!(revision)), "{body}");
        let of = |name: &str| body["counts"][name].as_i64().unwrap();
        assert_eq!((of("completed"), of("failed"), of("rows")), *counts, "{body}");
        assert_eq!(body["jobId"], job.to_string());
    }
}

#[tokio::test]
async fn what_is_told_is_undone_with_its_fact() {
    let pool = metadata::database("notify_undone").await;
    let place = Place { job: JobId::new(), tenant: "default".to_owned(), kind: "scheduled".to_owned(), day: None };
    let event = Event::TableFailed { place, table: "way".to_owned(), why: why(ErrorCode::SchemaChanged) };
    let mut tx = pool.begin().await.unwrap();
    tell(&mut tx, &event).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(types(&pool).await.is_empty());
}

#[tokio::test]
async fn drift_is_told_when_it_changes() {
    let (pool, queue) = ready("notify_drift").await;
    let column = |name: &str, sql_type: &str| DriftedColumn {
        name: name.to_owned(),
        change: "NEW",
        sql_type: Some(sql_type.to_owned()),
        previous_type: None,
        suggestion: "classify it".to_owned(),
    };
    let mut expected = 0;
    for (columns, is_new) in [
        (vec![], false),
        (vec![column("a", "text")], true),
        (vec![column("a", "text")], false),
        (vec![column("a", "text"), column("b", "text")], true),
        (vec![column("a", "text"), column("b", "int4")], true),
        (vec![], false),
        (vec![column("a", "text"), column("b", "int4")], true),
    ] {
        let job = JobId::new();
        let both = [queue.tell_drift(job, "way", columns.clone()), queue.tell_drift(job, "way", columns)];
        futures::future::join_all(both).await.into_iter().for_each(Result::unwrap);
        expected += usize::from(is_new);
        assert_eq!(types(&pool).await.len(), expected);
    }
    queue.tell_drift(JobId::new(), "vms", vec![column("a", "text"), column("b", "int4")]).await.unwrap();
    assert_eq!(types(&pool).await.len(), expected + 1, "each table has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn planning_tells_of_drift_and_the_gate_of_what_it_found_without_a_value() {
    let platform = Platform::sample("notify_canary", 4_000).await;
    let spoil = format!(
        "ALTER TABLE way ADD COLUMN note text; UPDATE way SET note = '{CELL}';
         ALTER TABLE vms ADD COLUMN contact text; UPDATE vms SET contact = '{CELL}'"
    );
    sql(&platform.warehouse, spoil).await;
    // What the gate must find: a message whose search for personal data is switched off when its plan is kept.
    sql(
        &platform.warehouse,
        "UPDATE vms SET message = 'call canary@example.com' WHERE vms_id = (SELECT max(vms_id) FROM vms
             WHERE shown_at >= '2026-03-02T00:00Z' AND shown_at < '2026-03-03T00:00Z')",
    )
    .await;
    change_plan(&platform, "vms", MESSAGE_SEARCHED).await;
    let worker = Running::start(&platform, Arc::new(Troubled::new(&platform, PostgresOptions::default()))).await;
    for _ in 0..2 {
        worker.finished(worker.request(&["way", "vms"]).await).await;
    }
    worker.stop().await;
    let told = told(&platform.metadata).await;
    let mut drifted: Vec<(&str, &str)> = told
        .iter()
        .filter(|(kind, _)| kind == "COLUMN_DRIFT")
        .map(|(_, body)| (body["table"].as_str().unwrap(), body["columns"][0]["name"].as_str().unwrap()))
        .collect();
    drifted.sort_unstable();
    assert_eq!(drifted, [("vms", "contact"), ("way", "note")], "once for each, although planned twice");
    let found: Vec<&Value> = told.iter().filter(|(kind, _)| kind == "GATE_FINDING").map(|(_, body)| body).collect();
    assert_eq!(found.len(), 2, "once for each request: {told:?}");
    assert!(found.iter().all(|body| body["error"]["message"].as_str().unwrap().contains("EMAIL in 1 values")));
    assert!(!format!("{told:?}").contains("canary"), "{told:?}");
}

#[tokio::test]
async fn what_stands_still_is_told_once_for_each_time() {
    let (pool, queue) = ready("notify_stalled").await;
    let age = "UPDATE export_jobs SET progress_at = progress_at - interval '10 minutes';
               UPDATE export_job_tables SET progress_at = progress_at - interval '10 minutes';
               UPDATE export_job_partitions SET progress_at = progress_at - interval '10 minutes'";
    let job = submit(&pool, "acme").await;
    plan(&queue, &[("way", 2)]).await;
    assert_eq!(outbox(&pool).tell_stalled(STALL).await.unwrap(), 0, "it has just moved");
    sql(&pool, age).await;
    for _ in 0..3 {
        assert_eq!(outbox(&pool).tell_stalled(STALL).await.unwrap(), 1);
    }
    let told = told(&pool).await;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0.as_str(), &told[0].1["tenant"]), ("REQUEST_STALLED", &json!("acme")));
    assert_eq!((&told[0].1["jobId"], &told[0].1["openTables"]), (&json!(job.to_string()), &json!(["way"])));
    // It moves, and stands still again.
    queue.claim_partition().await.unwrap().unwrap();
    sql(&pool, "UPDATE export_job_partitions SET progress_at = clock_timestamp()").await;
    assert_eq!(outbox(&pool).tell_stalled(STALL).await.unwrap(), 0);
    sql(&pool, age).await;
    assert_eq!(outbox(&pool).tell_stalled(STALL).await.unwrap(), 1);
    assert_eq!(types(&pool).await.len(), 2);
}

#[tokio::test]
async fn a_day_that_nobody_begins_is_told_of_once_and_a_missed_one_too() {
    let (pool, queue) = ready("notify_late").await;
    let days = Days::new(pool.clone());
    let fire: DateTime<Utc> = "2026-03-03T02:00:00Z".parse().unwrap();
    let lag = Duration::from_secs(7_200);
    let decide = async |missed: bool, day: Day, at: DateTime<Utc>| -> Vec<Decided> {
        days.decide("daily", lag, Now::At(at), |_, _| vec![Fire { at, day, missed }]).await.unwrap()
    };
    decide(false, day(), fire).await;
    // The job's due time is of the database's clock, which these days are not: as if it had been made then.
    sqlx::query("UPDATE export_jobs SET due_at = $1").bind(fire + lag).execute(&pool).await.unwrap();
    let deadline = Duration::from_secs(3_600);
    let late = async |minutes: i64| {
        outbox(&pool).tell_late_days(deadline, Now::At(fire + TimeDelta::minutes(minutes))).await.unwrap()
    };
    for (minutes, expected) in [(0, 0), (61, 0), (179, 0), (180, 1), (181, 1)] {
        assert_eq!(late(minutes).await, expected, "after {minutes} minutes");
    }
    let first = told(&pool).await;
    assert_eq!(first.len(), 1);
    let body = &first[0].1;
    assert_eq!(
        (first[0].0.as_str(), &body["date"], &body["reason"]),
        ("DAY_NOT_STARTED", &json!("2026-03-02"), &json!("WAITING"))
    );
    assert_eq!(body["dueAt"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(), fire + lag);
    plan(&queue, &[("way", 1)]).await;
    assert_eq!(late(200).await, 0, "it has begun");

    let (date, fire_of_next) = (date().succ_opt().unwrap(), fire + TimeDelta::days(1));
    let window = Window { start: day().window.end, end: day().window.end + TimeDelta::days(1) };
    decide(true, Day { date, window, time_zone: "UTC".to_owned() }, fire_of_next).await;
    assert_eq!(late(1_440 + 61).await, 1);
    assert_eq!(told(&pool).await[1].1["reason"], "MISSED");
    sql(&pool, "UPDATE export_schedule_fires SET decided_at = decided_at - interval '15 days'").await;
    assert_eq!(late(1_440 + 61).await, 0, "what was told is not remembered for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_see_what_was_given_up_and_resend_it_once() {
    let endpoint = Endpoint::with("notify_desk", Options { keys: true, ..Options::default() }).await;
    let pool = &endpoint.pool;
    let mut connection = pool.acquire().await.unwrap();
    for table in ["way", "vms", "cctv"] {
        let place = Place { job: JobId::new(), tenant: "default".to_owned(), kind: "scheduled".to_owned(), day: None };
        let event = Event::TableFailed { place, table: table.to_owned(), why: why(ErrorCode::SchemaChanged) };
        tell(&mut connection, &event).await.unwrap();
    }
    drop(connection);
    // What failed once is not due again while this test lasts.
    let rules = SendingRules { refusals: 1, first_pause: Duration::from_secs(300), ..SendingRules::default() };
    let outbox = Outbox::new(pool.clone(), rules);
    let claimed = outbox.claim(3).await.unwrap();
    let of = |table: &str| claimed.iter().find(|one| one.body["table"] == table).unwrap();
    assert!(outbox.failed(of("way"), &why(ErrorCode::TopicNotFound)).await.unwrap());
    assert!(!outbox.failed(of("vms"), &why(ErrorCode::NotificationUnavailable)).await.unwrap());
    assert!(outbox.sent(of("cctv")).await.unwrap());

    let admin = endpoint.key("default", Role::Admin, None).await;
    let list = "query ($state: NotificationState, $first: Int, $after: String) { notifications(state: $state, first: $first, after: $after) {
        edges { node { eventId type status state attempts nextAttemptAt sentAt deadAt error { code } body } } pageInfo { hasNextPage endCursor } } }";
    let ask = async |variables: Value| endpoint.ask_as(Some(&admin), list, variables).await.1;
    for (state, table, code) in [
        ("DEAD", "way", json!({"code": "TOPIC_NOT_FOUND"})),
        ("PENDING", "vms", json!({"code": "NOTIFICATION_UNAVAILABLE"})),
        ("SENT", "cctv", Value::Null),
    ] {
        let answer = ask(json!({"state": state})).await;
        let edges = answer["data"]["notifications"]["edges"].as_array().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(edges.len(), 1, "{answer}");
        let node = &edges[0]["node"];
        assert_eq!((&node["state"], &node["body"]["table"], &node["error"]), (&json!(state), &json!(table), &code));
        let times = ["nextAttemptAt", "sentAt", "deadAt"].map(|name| node[name].is_string());
        assert_eq!(times, [state == "PENDING", state == "SENT", state == "DEAD"], "{node}");
    }
    let page = ask(json!({"first": 2})).await;
    assert_eq!(page["data"]["notifications"]["pageInfo"]["hasNextPage"], true);
    let rest = ask(json!({"first": 2, "after": page["data"]["notifications"]["pageInfo"]["endCursor"]})).await;
    assert_eq!(rest["data"]["notifications"]["edges"].as_array().unwrap().len(), 1);

    let resend = "mutation ($id: String!) { resendNotification(eventId: $id) { state eventId } }";
    for (table, expected) in [("way", "PENDING"), ("way", "PENDING"), ("cctv", "SENT"), ("vms", "PENDING")] {
        let (_, answer) = endpoint.ask_as(Some(&admin), resend, json!({"id": of(table).event_id.to_string()})).await;
        assert_eq!(answer["data"]["resendNotification"]["state"], expected, "{table}: {answer}");
    }
    for unknown in ["no id", "01900000-0000-7000-8000-000000000000"] {
        let (_, answer) = endpoint.ask_as(Some(&admin), resend, json!({"id": unknown})).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "NOT_FOUND", "{answer}");
    }
    let audited: Vec<(String, Value, Value)> =
        sqlx::query_as("SELECT target, before, after FROM admin_audit WHERE action = 'notification.resend'")
            .fetch_all(pool)
            .await
            .unwrap();
    let before = json!({"state": "DEAD", "attempts": 1, "error": "TOPIC_NOT_FOUND"});
    assert_eq!(audited, [(of("way").event_id.to_string(), before, json!({"state": "PENDING"}))]);
    // It is due at once, with its id, and is not given up at the next failure because of the old ones.
    let again = Outbox::new(pool.clone(), SendingRules { refusals: 2, ..rules }).claim(3).await.unwrap();
    assert_eq!(again.iter().map(|one| one.event_id).collect::<Vec<_>>(), [of("way").event_id]);
    let patient = Outbox::new(pool.clone(), SendingRules { refusals: 2, ..rules });
    assert!(!patient.failed(&again[0], &why(ErrorCode::TopicNotFound)).await.unwrap());

    // It is all tenants' affair.
    let other = endpoint.key("acme", Role::Admin, None).await;
    for query in [list, "mutation ($id: String) { resendNotification(eventId: \"x\") { state } }"] {
        let (_, answer) = endpoint.ask_as(Some(&other), query, json!({})).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
    }
}
