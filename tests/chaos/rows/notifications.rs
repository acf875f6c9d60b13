//! SNS away for an hour, then deaf, so that every message arrives and no answer comes back, then there; the processes that
//! send are killed all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{NaiveDate, TimeDelta};
use data_exporter::error::{ErrorCode, Failure};
use data_exporter::jobs::JobId;
use data_exporter::jobs::outbox::{DayOf, Event, Place, tell};
use rand::Rng;
use rand::rngs::StdRng;
use sqlx::postgres::PgPool;
use tokio::process::Child;

use crate::clock::Clocked;
use crate::stage::{Stage, until};
use crate::support::sns::{Delivered, Gate, Topic};
use crate::table::Row;

const SENDERS: usize = 3;
/// What the database's clock is set ahead by at a time: less than what is claimed is leased for.
const STEP: TimeDelta = TimeDelta::seconds(20);

/// What happens while the experiment lasts.
struct Night<'a> {
    stage: &'a Stage,
    clock: &'a Clocked,
    topic: &'a Topic,
    crew: Vec<Child>,
    told: BTreeSet<String>,
    left: usize,
    undone: usize,
    killed: usize,
}

pub(crate) async fn run(stage: &mut Stage, random: &mut StdRng, minutes: i64, messages: usize) -> Row {
    let mut row = Row::new(format!("SNS away for {minutes} minutes, then deaf, senders killed meanwhile"));
    let topic = Topic::start().await;
    let clock = Clocked::create(stage, "chaos_told").await;
    let mut night = Night {
        stage,
        clock: &clock,
        topic: &topic,
        crew: Vec::new(),
        told: BTreeSet::new(),
        left: messages,
        undone: 0,
        killed: 0,
    };
    topic.set(Gate::Shut);
    night.crew = (0..SENDERS).map(|_| night.start()).collect();
    let steps = minutes * 60 / STEP.num_seconds();
    let each = messages.div_ceil(usize::try_from(steps).unwrap());
    for _ in 0..steps {
        night.happens(random, each).await;
        clock.advance(STEP).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    night.happens(random, messages).await;
    until("everything was tried", || async { count(&clock.pool, "error_code IS NULL AND sent_at IS NULL").await == 0 })
        .await;
    let early = count(&clock.pool, "sent_at IS NOT NULL").await;
    let tries: i32 =
        sqlx::query_scalar("SELECT max(attempts) FROM export_notifications").fetch_one(&clock.pool).await.unwrap();

    topic.set(Gate::Deaf);
    let mut delivered = night.until_there(messages / 4).await;
    let unheard = delivered.len();
    topic.set(Gate::Open);
    let (back, from) = (Instant::now(), clock.now().await);
    while count(&clock.pool, "sent_at IS NULL AND dead_at IS NULL").await > 0
        && back.elapsed() < Duration::from_secs(180)
    {
        night.kills(random).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
        clock.advance(STEP / 10).await;
        delivered.extend(topic.take().await);
    }
    let took = (clock.now().await - from).to_std().unwrap_or_default();
    delivered.extend(topic.take().await);
    for one in &mut night.crew {
        one.kill().await.unwrap();
    }
    account(&mut row, &night, &delivered).await;
    row.note("attempts at one while it was away, at most", tries);
    row.exactly("taken for sent while it was away", early, 0);
    row.note("delivered without an answer", unheard);
    row.times("from its return to the last one, by the database's clock", vec![took], None);
    row
}

impl Night<'_> {
    fn start(&self) -> Child {
        let settings = [
            // Not in this lifetime.
            ("EXPORTER_SCHEDULE", "0 0 0 29 2 *"),
            ("EXPORTER_SNS_TOPIC_ARN", self.topic.arn.as_str()),
            ("AWS_ENDPOINT_URL_SNS", self.topic.endpoint.as_str()),
        ];
        self.clock.scheduler(self.stage, "chaos_told", &settings)
    }

    /// So many facts come to be, one in four of them in a transaction that is undone; and maybe a sender dies.
    async fn happens(&mut self, random: &mut StdRng, facts: usize) {
        for _ in 0..facts.min(self.left) {
            self.left -= 1;
            if random.random_bool(0.25) {
                let tx = told(&self.clock.pool).await;
                tx.rollback().await.unwrap();
                self.undone += 1;
            }
            told(&self.clock.pool).await.commit().await.unwrap();
        }
        self.kills(random).await;
        let ids: Vec<String> = sqlx::query_scalar("SELECT event_id::text FROM export_notifications")
            .fetch_all(&self.clock.pool)
            .await
            .unwrap();
        self.told.extend(ids);
    }

    async fn kills(&mut self, random: &mut StdRng) {
        if random.random_bool(0.15) {
            let place = random.random_range(0..SENDERS);
            self.crew[place].kill().await.unwrap();
            self.crew[place] = self.start();
            self.killed += 1;
        }
    }

    /// Waits until so many have arrived, and takes them.
    async fn until_there(&self, messages: usize) -> Vec<Delivered> {
        let mut found = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(120);
        while found.len() < messages && Instant::now() < deadline {
            self.clock.advance(STEP).await;
            tokio::time::sleep(Duration::from_millis(250)).await;
            found.extend(self.topic.take().await);
        }
        found
    }
}

async fn account(row: &mut Row, night: &Night<'_>, delivered: &[Delivered]) {
    let mut texts: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for one in delivered {
        texts.entry(one.event_id()).or_default().insert(&one.text);
    }
    let pool = &night.clock.pool;
    row.note(
        "facts, others undone, senders killed",
        format!("{}, {}, {}", night.told.len(), night.undone, night.killed),
    );
    row.note("delivered more than once", delivered.len() - texts.len());
    row.nothing(&[
        ("notifications lost", night.told.iter().filter(|id| !texts.contains_key(*id)).count()),
        ("of what was undone", texts.keys().filter(|id| !night.told.contains(*id)).count()),
        ("with another text the second time", texts.values().filter(|texts| texts.len() > 1).count()),
        ("given up", count(pool, "dead_at IS NOT NULL").await),
        ("left", count(pool, "sent_at IS NULL AND dead_at IS NULL").await),
    ]);
}

async fn count(pool: &PgPool, condition: &str) -> usize {
    let sql = format!("SELECT count(*) FROM export_notifications WHERE {condition}");
    let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await.unwrap();
    usize::try_from(count).unwrap()
}

/// A transaction in which something has happened.
async fn told(pool: &PgPool) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let date = NaiveDate::from_ymd_opt(2026, 3, 2).unwrap();
    let day = DayOf { schedule: "daily".to_owned(), export_date: date, revision: 1 };
    let place = Place { job: JobId::new(), tenant: "default".to_owned(), kind: "scheduled".to_owned(), day: Some(day) };
    let why = Failure::new(ErrorCode::SchemaChanged, "a column has gone");
    let mut tx = pool.begin().await.unwrap();
    tell(&mut tx, &Event::TableFailed { place, table: "way".to_owned(), why }).await.unwrap();
    tx
}
