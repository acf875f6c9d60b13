//! Sending: through SNS into a queue behind it, while it is away, refused, too large, by two at once, and by a process that
//! dies in the worst moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::closing::{DayError, DayTable, EndedDay, SkippedTable, Superseded};
use data_exporter::jobs::outbox::{DayOf, DriftedColumn, Event, LateDay, Outbox, Place, SendingRules, tell};
use data_exporter::jobs::stalled::StalledJob;
use data_exporter::jobs::{JobId, Window};
use data_exporter::notify::{LARGEST, LogNotifier, Message, Notifier, Origin, Sender, VERSION, Watch};
use serde_json::Value;
use sqlx::postgres::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::metadata;
use crate::support::platform::Platform;
use crate::support::sns::{Gate, Topic};

const DATE: NaiveDate = NaiveDate::from_ymd_opt(2026, 3, 2).unwrap();

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A table of a day; without rows it has failed.
pub(crate) fn table(name: &str, rows: Option<i64>, revision: i32) -> DayTable {
    DayTable {
        name: name.to_owned(),
        status: if rows.is_some() { "COMPLETED" } else { "FAILED" }.to_owned(),
        revision,
        attempts: 1,
        rows,
        bytes: rows.map(|rows| rows * 8),
        manifest: rows.map(|_| format!("s3://exports/dev/2026/03/02/{name}/_manifest")),
        unchanged_since: None,
        policy_hash: rows.map(|_| "0".repeat(64)),
        error: rows.is_none().then(|| DayError { code: "SCHEMA_CHANGED".to_owned(), message: "it changed".to_owned() }),
        supersedes: (revision > 1).then_some(Superseded { revision: revision - 1, rows: 1, bytes: 8 }),
    }
}

fn day(tables: Vec<DayTable>, revision: i32) -> Event {
    Event::DayEnded {
        day: Box::new(EndedDay {
            job: JobId::new(),
            schedule: "daily".to_owned(),
            date: DATE,
            revision,
            time_zone: "Europe/Berlin".to_owned(),
            window: Window { start: at("2026-03-01T23:00:00Z"), end: at("2026-03-02T23:00:00Z") },
            rules_revision: Some(7),
            error: None,
            tables,
            missing: Vec::new(),
            skipped: vec![SkippedTable {
                name: "lookup".to_owned(),
                code: "TABLE_WITHOUT_TIME".to_owned(),
                message: "it is".to_owned(),
            }],
        }),
    }
}

/// One event of each type, with type and status.
fn one_of_each() -> Vec<(&'static str, &'static str, Event)> {
    let of = DayOf { schedule: "daily".to_owned(), export_date: DATE, revision: 1 };
    let place =
        Place { job: JobId::new(), tenant: "default".to_owned(), kind: "scheduled".to_owned(), day: Some(of.clone()) };
    let column = DriftedColumn {
        name: "driver_email".to_owned(),
        change: "RETYPED",
        sql_type: Some("text".to_owned()),
        previous_type: Some("citext".to_owned()),
        suggestion: "classify it de".to_owned(),
    };
    let stalled = StalledJob {
        id: Uuid::now_v7(),
        tenant: "default".to_owned(),
        kind: "scheduled".to_owned(),
        state: "RUNNING".to_owned(),
        requested_by: "schedule".to_owned(),
        window_start: at("2026-03-01T23:00:00Z"),
        window_end: at("2026-03-02T23:00:00Z"),
        since: at("2026-03-03T02:00:00Z"),
        read_at: at("2026-03-03T02:10:00Z"),
        last_heartbeat: None,
        worker: None,
        attempts: 2,
        crashes: 1,
        reaped_at: None,
        error_code: Some("NO_PROGRESS".to_owned()),
        error_message: Some("nothing moved".to_owned()),
        tables: vec!["way".to_owned()],
        running: 1,
        waiting: 0,
    };
    let late = LateDay {
        schedule: "daily".to_owned(),
        export_date: DATE,
        fire_at: at("2026-03-03T01:00:00Z"),
        since: at("2026-03-03T01:00:00Z"),
        job_id: Some(Uuid::now_v7()),
    };
    let why = || Failure::new(ErrorCode::GateFoundPersonalData, "column 'note' holds 3 e-mail addresses");
    vec![
        ("DAY_COMPLETED", "COMPLETED", day(vec![table("way", Some(3), 1)], 1)),
        ("DAY_COMPLETED_WITH_FAILURES", "FAILED", day(vec![table("vms", None, 1), table("way", Some(3), 1)], 1)),
        ("DAY_RESTATED", "COMPLETED", day(vec![table("vms", Some(4), 2), table("way", Some(3), 1)], 2)),
        ("DAY_NOT_STARTED", "WARNING", Event::DayNotStarted { day: late }),
        ("TABLE_FAILED", "FAILED", Event::TableFailed { place: place.clone(), table: "way".to_owned(), why: why() }),
        ("GATE_FINDING", "FAILED", Event::GateFinding { place, table: "way".to_owned(), why: why() }),
        (
            "COLUMN_DRIFT",
            "WARNING",
            Event::ColumnDrift { job: JobId::new(), table: "way".to_owned(), columns: vec![column] },
        ),
        ("REQUEST_STALLED", "WARNING", Event::RequestStalled { job: Box::new(stalled), day: Some(of) }),
    ]
}

async fn tell_all(pool: &PgPool, events: impl IntoIterator<Item = Event>) {
    let mut tx = pool.begin().await.unwrap();
    for event in events {
        tell(&mut tx, &event).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// Everything as always, and quicker.
fn rules() -> SendingRules {
    SendingRules {
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(50),
        refusals: 3,
        ..SendingRules::default()
    }
}

fn sender(pool: &PgPool, rules: SendingRules, notifier: impl Notifier + 'static) -> Sender {
    let folder = Arc::new(|date: NaiveDate| format!("s3://exports/dev/{}", date.format("%Y/%m/%d")));
    let origin = Origin { environment: "dev".to_owned(), folder };
    let watch = Watch { stall: Duration::from_secs(300), start_deadline: Duration::from_secs(3_600) };
    Sender::new(Outbox::new(pool.clone(), rules), Arc::new(notifier), origin, watch)
}

async fn told(pool: &PgPool) -> BTreeSet<String> {
    let ids: Vec<Uuid> = sqlx::query_scalar("SELECT event_id FROM export_notifications").fetch_all(pool).await.unwrap();
    ids.into_iter().map(|id| id.to_string()).collect()
}

async fn count(pool: &PgPool, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM export_notifications WHERE {condition}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await.unwrap()
}

/// Waits until so many notifications are like this.
async fn until(pool: &PgPool, condition: &str, expected: i64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while count(pool, condition).await != expected {
        assert!(Instant::now() < deadline, "{} are {condition}, not {expected}", count(pool, condition).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every name of a field in a body, at any depth.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            found.insert(name.clone());
            names(value, found);
        }),
        Value::Array(values) => values.iter().for_each(|value| names(value, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_comes_with_its_attributes_and_the_fields_that_are_documented() {
    let pool = metadata::database("notify_events").await;
    let topic = Topic::start().await;
    let events = one_of_each();
    let expected: BTreeMap<&str, &str> = events.iter().map(|(kind, status, _)| (*kind, *status)).collect();
    tell_all(&pool, events.into_iter().map(|(_, _, event)| event)).await;
    let sender = sender(&pool, SendingRules::default(), topic.notifier().await);
    assert_eq!(sender.send_due().await.unwrap(), 8);
    assert_eq!(sender.send_due().await.unwrap(), 0, "what was taken is not sent again");
    let delivered = topic.wait_for(8).await;
    let ids: BTreeSet<String> = delivered.iter().map(|one| one.event_id()).collect();
    assert_eq!(ids, told(&pool).await);
    let docs = include_str!("../../docs/notifications.md");
    let mut fields = BTreeSet::new();
    for one in &delivered {
        let body = &one.body;
        let kind = body["type"].as_str().unwrap();
        assert_eq!(expected[kind], body["status"], "{body}");
        assert_eq!((body["version"].as_u64(), &body["environment"]), (Some(u64::from(VERSION)), &Value::from("dev")));
        let attributes = &one.attributes;
        assert_eq!(attributes.len(), 4, "{attributes:?}");
        for name in ["eventId", "type", "environment", "status"] {
            assert_eq!(attributes[name], body[name].as_str().unwrap(), "{name}");
        }
        assert!(body["occurredAt"].as_str().unwrap().parse::<DateTime<Utc>>().is_ok());
        names(body, &mut fields);
        assert!(docs.contains(&format!("`{kind}`")), "{kind} is not documented");
    }
    for name in fields {
        assert!(docs.contains(&format!("`{name}`")), "the field {name} is not documented");
    }
    let of = |kind: &str| &delivered.iter().find(|one| one.body["type"] == kind).unwrap().body;
    let failed = of("DAY_COMPLETED_WITH_FAILURES");
    assert_eq!(failed["summary"], "s3://exports/dev/2026/03/02/_FAILED");
    assert_eq!(failed["tables"][0]["error"]["code"], "SCHEMA_CHANGED");
    assert_eq!(failed["tables"][1]["manifest"], "s3://exports/dev/2026/03/02/way/_manifest");
    assert_eq!((&failed["counts"]["completed"], &failed["counts"]["failed"]), (&Value::from(1), &Value::from(1)));
    let restated = of("DAY_RESTATED");
    assert_eq!(restated["summary"], "s3://exports/dev/2026/03/02/_SUCCESS");
    assert_eq!(restated["tables"][0]["supersedes"]["rows"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_sns_is_away_and_two_send_at_once() {
    let pool = metadata::database("notify_away").await;
    let topic = Topic::start().await;
    topic.set(Gate::Shut);
    let stop = CancellationToken::new();
    let mut running = Vec::new();
    for _ in 0..2 {
        let (sender, stop) = (sender(&pool, rules(), topic.notifier().await), stop.clone());
        running.push(tokio::spawn(async move { sender.run(&stop).await }));
    }
    for _ in 0..5 {
        tell_all(&pool, one_of_each().into_iter().map(|(_, _, event)| event)).await;
    }
    let ids = told(&pool).await;
    assert_eq!(ids.len(), 36, "the late day is the same five times, and told once");
    until(&pool, "error_code = 'NOTIFICATION_UNAVAILABLE'", i64::try_from(ids.len()).unwrap()).await;
    assert_eq!(count(&pool, "sent_at IS NOT NULL OR dead_at IS NOT NULL").await, 0);
    topic.set(Gate::Open);
    until(&pool, "sent_at IS NOT NULL", i64::try_from(ids.len()).unwrap()).await;
    stop.cancel();
    for one in running {
        one.await.unwrap();
    }
    let delivered: BTreeSet<String> = topic.wait_for(ids.len()).await.iter().map(|one| one.event_id()).collect();
    assert_eq!(delivered, ids);
}

/// Takes its time, and counts what it was given.
#[derive(Debug, Default)]
struct Slow(Arc<AtomicUsize>);

#[async_trait]
impl Notifier for Slow {
    async fn send(&self, _: &Message) -> Result<(), Failure> {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_share_out_what_is_due_and_a_late_one_says_nothing_of_it() {
    let pool = metadata::database("notify_shared").await;
    tell_all(&pool, (0..30).map(|_| day(vec![table("way", Some(1), 1)], 1))).await;
    let given = Arc::new(AtomicUsize::new(0));
    let senders: Vec<Sender> = (0..3).map(|_| sender(&pool, SendingRules::default(), Slow(given.clone()))).collect();
    while futures::future::join_all(senders.iter().map(Sender::send_due))
        .await
        .into_iter()
        .any(|sent| sent.unwrap() > 0)
    {}
    assert_eq!((given.load(Ordering::SeqCst), count(&pool, "sent_at IS NOT NULL AND attempts = 1").await), (30, 30));

    // Whoever was frozen for longer than its lease has nothing to say of what another has claimed since.
    tell_all(&pool, [day(Vec::new(), 1)]).await;
    let outbox = Outbox::new(pool.clone(), SendingRules::default());
    let frozen = outbox.claim(10).await.unwrap().remove(0);
    assert!(outbox.claim(10).await.unwrap().is_empty(), "it is leased");
    sqlx::raw_sql("UPDATE export_notifications SET due_at = clock_timestamp() WHERE sent_at IS NULL")
        .execute(&pool)
        .await
        .unwrap();
    let heir = outbox.claim(10).await.unwrap().remove(0);
    assert_eq!(heir.event_id, frozen.event_id);
    let why = Failure::new(ErrorCode::NotificationUnavailable, "away");
    assert!(!outbox.failed(&frozen, &why).await.unwrap() && !outbox.sent(&frozen).await.unwrap());
    assert_eq!(count(&pool, "sent_at IS NULL AND error_code IS NULL").await, 1);
    assert!(outbox.sent(&heir).await.unwrap());
}

/// Sends until a notification is like this.
async fn send_until(pool: &PgPool, sender: &Sender, condition: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while count(pool, condition).await == 0 {
        assert!(Instant::now() < deadline, "none is {condition}");
        sender.send_due().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_given_up_after_a_while_and_what_is_away_after_days() {
    let pool = metadata::database("notify_refused").await;
    let topic = Topic::start().await;
    let missing = format!("{}-not", topic.arn);
    for (arn, gate, code) in [
        (missing.as_str(), Gate::Open, "TOPIC_NOT_FOUND"),
        (topic.arn.as_str(), Gate::Forbidden, "NOTIFICATION_DENIED"),
    ] {
        topic.set(gate);
        tell_all(&pool, [day(vec![table("way", Some(1), 1)], 1)]).await;
        let sender = sender(&pool, rules(), topic.notifier_of(arn).await);
        send_until(&pool, &sender, &format!("dead_at IS NOT NULL AND error_code = '{code}'")).await;
        assert_eq!(count(&pool, &format!("error_code = '{code}' AND attempts = 3 AND refusals = 3")).await, 1);
    }
    let said: String = sqlx::query_scalar("SELECT string_agg(error_message, ' ') FROM export_notifications")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(said.contains(&topic.arn) && said.contains("sns:Publish") && !said.contains("canary"), "{said}");

    // What passes by itself is tried again, however often, until it is days old.
    topic.set(Gate::Shut);
    tell_all(&pool, [day(vec![table("way", Some(1), 1)], 1)]).await;
    let sender = sender(&pool, rules(), topic.notifier().await);
    send_until(&pool, &sender, "attempts >= 5 AND dead_at IS NULL").await;
    sqlx::raw_sql("UPDATE export_notifications SET queued_at = queued_at - interval '14 days'")
        .execute(&pool)
        .await
        .unwrap();
    send_until(&pool, &sender, "dead_at IS NOT NULL AND error_code = 'NOTIFICATION_UNAVAILABLE'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_shortened_and_points_at_the_summary() {
    let pool = metadata::database("notify_large").await;
    let topic = Topic::start().await;
    let tables: Vec<DayTable> = (0..2_000).map(|n| table(&format!("table_with_a_long_name_{n}"), Some(n), 1)).collect();
    let mut broken = table("way", None, 1);
    broken.error = Some(DayError { code: "SCHEMA_CHANGED".to_owned(), message: "ü".repeat(200_000) });
    let why = Failure::new(ErrorCode::SchemaChanged, "ü".repeat(200_000));
    let place = Place { job: JobId::new(), tenant: "default".to_owned(), kind: "scheduled".to_owned(), day: None };
    let events = [
        day(tables, 1),
        day(vec![broken], 1),
        Event::TableFailed { place, table: "way".to_owned(), why },
        day((0..300).map(|n| table(&format!("t{n}"), Some(n), 1)).collect(), 1),
    ];
    tell_all(&pool, events).await;
    let sender = sender(&pool, SendingRules::default(), topic.notifier().await);
    sender.send_due().await.unwrap();
    assert_eq!(count(&pool, "sent_at IS NOT NULL").await, 4);
    let delivered = topic.wait_for(4).await;
    assert!(delivered.iter().all(|one| one.text.len() + 1_024 <= LARGEST));
    let shortened = |one: &&crate::support::sns::Delivered| one.body["shortened"] == true;
    assert_eq!(delivered.iter().filter(shortened).count(), 3);
    let large = delivered.iter().find(|one| one.body["leftOut"]["tables"] == 2_000).unwrap();
    assert_eq!(large.body["summary"], "s3://exports/dev/2026/03/02/_SUCCESS");
    assert_eq!((&large.body["counts"]["completed"], &large.body["tables"]), (&Value::from(2_000), &Value::Null));
    let failed = delivered.iter().find(|one| one.body["type"] == "TABLE_FAILED").unwrap();
    assert!(failed.body["error"]["message"].as_str().unwrap().ends_with('…'));
    assert_eq!(failed.body["error"]["code"], "SCHEMA_CHANGED");
    let whole = delivered.iter().find(|one| one.body["tables"].is_array()).unwrap();
    assert_eq!(whole.body["tables"].as_array().unwrap().len(), 300);
    assert_eq!(count(&pool, "jsonb_array_length(body -> 'tables') = 2000").await, 1, "administrators see all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_before_it_has_written_down_what_it_sent_is_followed_by_one_that_sends_it_again() {
    let platform = Platform::empty("notify_killed").await;
    let topic = Topic::start().await;
    topic.set(Gate::Deaf);
    tell_all(&platform.metadata, [day(vec![table("way", Some(1), 1)], 1)]).await;
    let settings = [("EXPORTER_SNS_TOPIC_ARN", topic.arn.as_str()), ("AWS_ENDPOINT_URL_SNS", topic.endpoint.as_str())];
    let mut first = platform.serve("first", "worker", &settings).await;
    let before = topic.wait_for(1).await;
    first.child.kill().await.unwrap();
    assert_eq!(count(&platform.metadata, "sent_at IS NULL AND attempts = 1").await, 1);
    topic.set(Gate::Open);
    // Its lease runs out.
    sqlx::raw_sql("UPDATE export_notifications SET due_at = clock_timestamp()")
        .execute(&platform.metadata)
        .await
        .unwrap();
    let second = platform.serve("second", "worker", &settings).await;
    let after = topic.wait_for(1).await;
    until(&platform.metadata, "sent_at IS NOT NULL AND attempts = 2", 1).await;
    assert_eq!(
        (before[0].event_id(), &before[0].text),
        (after[0].event_id(), &after[0].text),
        "the same, byte for byte"
    );
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_asks_the_topic_and_says_what_to_do() {
    let platform = Platform::empty("notify_doctor").await;
    let topic = Topic::start().await;
    let missing = format!("{}-not", topic.arn);
    for (arn, gate, verdict, words) in [
        (topic.arn.as_str(), Gate::Open, "OK", "the topic answers"),
        (missing.as_str(), Gate::Open, "FAIL", "correct EXPORTER_SNS_TOPIC_ARN [TOPIC_NOT_FOUND]"),
        (topic.arn.as_str(), Gate::Forbidden, "FAIL", "grant sns:GetTopicAttributes on it"),
        (topic.arn.as_str(), Gate::Shut, "FAIL", "[NOTIFICATION_UNAVAILABLE]"),
    ] {
        topic.set(gate);
        let mut doctor = platform.program(&["--json", "doctor"]);
        doctor.env("EXPORTER_SNS_TOPIC_ARN", arn).env("AWS_ENDPOINT_URL_SNS", &topic.endpoint);
        let done = doctor.output().await.unwrap();
        let found: Value = serde_json::from_slice(&done.stdout).unwrap();
        let of = |check: &str| found.as_array().unwrap().iter().find(|one| one["check"] == check).unwrap().clone();
        let said = of("notifications");
        assert_eq!(said["verdict"], verdict, "{said}");
        assert!(said["message"].as_str().unwrap().contains(words), "{said}");
        assert!(!said.to_string().contains("canary") && of("outbox")["verdict"] == "OK", "{found}");
    }
    assert!(topic.take().await.is_empty(), "nothing is published to find out");
    // What was given up is pointed at.
    tell_all(&platform.metadata, [day(Vec::new(), 1)]).await;
    let give_up = "UPDATE export_notifications SET dead_at = clock_timestamp(), error_code = 'X', error_message = 'x'";
    sqlx::raw_sql(give_up).execute(&platform.metadata).await.unwrap();
    let done = platform.program(&["--json", "doctor"]).output().await.unwrap();
    assert!(String::from_utf8(done.stdout).unwrap().contains("1 notifications were given up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_topic_it_is_the_log_that_is_told() {
    let platform = Platform::empty("notify_log").await;
    tell_all(&platform.metadata, [day(vec![table("way", Some(1), 1)], 1)]).await;
    let service = platform.serve("log", "worker", &[("EXPORTER_LOG_FORMAT", "json")]).await;
    until(&platform.metadata, "sent_at IS NOT NULL", 1).await;
    let log = service.logged();
    let line = log.lines().find(|line| line.contains("DAY_COMPLETED")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    let body: Value = serde_json::from_str(line["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["tables"][0]["name"], "way", "{line}");
    // It takes everything.
    let message = Message {
        event_id: Uuid::nil(),
        event_type: String::new(),
        environment: String::new(),
        status: String::new(),
        text: String::new(),
    };
    assert!(LogNotifier.send(&message).await.is_ok());
}
