//! Five schedulers go through a year in a few minutes, in zones that change their clocks: killed in the middle of deciding,
//! started at once, and away for days. Then through some real seconds, each with a fire.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::postgres::PgPool;
use tokio::process::Child;

use crate::clock::Clocked;
use crate::stage::{Stage, until};
use crate::support::python;
use crate::table::Row;

const SCHEDULERS: usize = 5;
/// Hours that are skipped and repeated; midnight itself skipped; half an hour, in the south.
const ZONES: [(&str, &str, &str); 3] = [
    ("chaos_berlin", "Europe/Berlin", "02:30"),
    ("chaos_santiago", "America/Santiago", "00:00"),
    ("chaos_lord_howe", "Australia/Lord_Howe", "02:15"),
];

/// When it fired, which day it exports, from when to when.
type Fired = (DateTime<Utc>, NaiveDate, DateTime<Utc>, DateTime<Utc>);

#[derive(Debug, Default)]
struct Tally {
    fires: usize,
    lost: usize,
    foreign: usize,
    /// Fires or jobs that are there twice.
    doubled: usize,
    /// Fires that are recorded with a fraction of a second.
    beside: usize,
    killed: usize,
}

pub(crate) async fn run(stage: &mut Stage, random: &mut StdRng, days: i64, seconds: u64) -> Row {
    let mut row =
        Row::new(format!("{SCHEDULERS} schedulers, {days} days, 3 zones with daylight saving, away at random"));
    let stage: &Stage = stage;
    let years = ZONES.map(|zone| (zone, StdRng::seed_from_u64(random.random())));
    let years = join_all(years.map(|(zone, random)| year(stage, zone, random, days))).await;
    let sum = |of: fn(&Tally) -> usize| years.iter().map(of).sum::<usize>();
    row.exactly("fires, each with its day's job", sum(|year| year.fires), usize::try_from(days).unwrap() * ZONES.len());
    row.note("schedulers killed meanwhile", sum(|year| year.killed));
    let counts = [
        ("lost", sum(|year| year.lost)),
        ("with another day or window", sum(|year| year.foreign)),
        ("doubled", sum(|year| year.doubled)),
    ];
    row.nothing(&counts);
    row.exactly("recorded with a fraction of a second", sum(|year| year.beside), 0);
    for ((name, ..), year) in ZONES.iter().zip(&years) {
        row.saw(format!("{name}: {year:?}"));
    }
    let real = moments(stage, random, seconds).await;
    row.saw(format!("by the real clock: {real:?}"));
    row.note("real seconds with a fire each, schedulers killed", format!("{}, {}", real.fires, real.killed));
    row.nothing(&[("of those lost", real.lost), ("doubled", real.doubled)]);
    row
}

/// Days of one zone, against the oracle that only watches a clock.
async fn year(
    stage: &Stage,
    (name, zone, time): (&str, &'static str, &'static str),
    mut random: StdRng,
    days: i64,
) -> Tally {
    // A few days must do to meet a change of every zone.
    let first = if days < 100 { "2026-03-20" } else { "2026-01-15" };
    let asked = move || python::run("schedule_oracle.py", [zone, time, first, &days.to_string()]);
    let oracle = tokio::task::spawn_blocking(asked).await.unwrap();
    let oracle: Vec<Fired> = serde_json::from_str(&oracle).unwrap();
    let (hour, minute) = time.split_once(':').unwrap();
    let expression = format!("0 {minute} {hour} * * *");
    let settings = [("EXPORTER_SCHEDULE", expression.as_str()), ("EXPORTER_TIMEZONE", zone)];
    let clock = Clocked::create(stage, name).await;
    clock.set(oracle[0].0 - TimeDelta::hours(1)).await;
    let start = || clock.scheduler(stage, name, &settings);
    let mut crew: Vec<Child> = vec![start()];
    until("the schedule has begun", || async { decided(&clock.pool).await.is_some() }).await;
    let mut killed = 0;
    let last = oracle.last().unwrap().0;
    loop {
        let away =
            if random.random_bool(0.1) { random.random_range(1..25) * 1_440 } else { random.random_range(1..8_640) };
        // Not beyond the last fire by more than an hour: the next day has one of its own.
        let next = (clock.now().await + TimeDelta::minutes(away)).min(last + TimeDelta::minutes(30));
        clock.set(next).await;
        // Some come up at once, and some of those are gone again before or while they decide.
        for _ in 0..2 {
            while crew.len() < SCHEDULERS {
                crew.push(start());
            }
            tokio::time::sleep(Duration::from_millis(random.random_range(20..400))).await;
            for _ in 0..random.random_range(1..4) {
                let mut one = crew.swap_remove(random.random_range(0..crew.len()));
                one.kill().await.unwrap();
                killed += 1;
            }
        }
        crew.push(start());
        let due = oracle.iter().rev().map(|fire| fire.0).find(|fire| *fire <= next);
        let deadline = Instant::now() + Duration::from_secs(90);
        while decided(&clock.pool).await < due && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if next > last || Instant::now() > deadline {
            break;
        }
    }
    Tally { killed, ..compared(&clock.pool, &oracle).await }
}

/// Up to when everything is decided.
async fn decided(pool: &PgPool) -> Option<DateTime<Utc>> {
    sqlx::query_scalar("SELECT decided_until FROM export_schedules").fetch_optional(pool).await.unwrap()
}

async fn compared(pool: &PgPool, oracle: &[Fired]) -> Tally {
    let fired: Vec<Fired> = sqlx::query_as(
        "SELECT date_trunc('second', fire.fire_at), fire.export_date, day.window_start, day.window_end
         FROM export_schedule_fires AS fire
         JOIN export_days AS day USING (job_id)
         JOIN export_jobs AS job ON job.id = day.job_id AND job.kind = 'scheduled'
              AND (job.window_start, job.window_end) = (day.window_start, day.window_end)
         WHERE fire.outcome = 'STARTED' AND day.revision = 1 AND day.export_date = fire.export_date",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let (recorded, beside, days, jobs): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE fire_at <> date_trunc('second', fire_at)),
                (SELECT count(*) FROM export_days), (SELECT count(*) FROM export_jobs)
         FROM export_schedule_fires",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    let [recorded, beside, days, jobs] = [recorded, beside, days, jobs].map(|count| usize::try_from(count).unwrap());
    let (found, wanted): (BTreeSet<&Fired>, BTreeSet<&Fired>) = (fired.iter().collect(), oracle.iter().collect());
    Tally {
        fires: fired.len(),
        lost: wanted.difference(&found).count(),
        foreign: found.difference(&wanted).count(),
        doubled: recorded.max(days).max(jobs).saturating_sub(wanted.len()) + fired.len() - found.len(),
        beside,
        killed: 0,
    }
}

/// So many seconds by the real clock and the real timer, with a fire in each.
async fn moments(stage: &Stage, random: &mut StdRng, seconds: u64) -> Tally {
    let clock = Clocked::create(stage, "chaos_moments").await;
    let settings = [("EXPORTER_SCHEDULE", "* * * * * *"), ("EXPORTER_TIMEZONE", "UTC")];
    let start = || clock.scheduler(stage, "chaos_moments", &settings);
    let mut crew: Vec<Child> = (0..SCHEDULERS).map(|_| start()).collect();
    until("the schedule has begun", || async { decided(&clock.pool).await.is_some() }).await;
    let begun = decided(&clock.pool).await.unwrap();
    let until_then = clock.now().await + TimeDelta::seconds(i64::try_from(seconds).unwrap());
    let mut killed = 0;
    while clock.now().await < until_then {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..900))).await;
        let place = random.random_range(0..SCHEDULERS);
        crew[place].kill().await.unwrap();
        crew[place] = start();
        killed += 1;
    }
    until("the last second is decided", || async { decided(&clock.pool).await >= Some(until_then) }).await;
    for one in &mut crew {
        one.kill().await.unwrap();
    }
    let (fires, first, last, days, jobs): (i64, DateTime<Utc>, DateTime<Utc>, i64, i64) = sqlx::query_as(
        "SELECT count(*), min(fire_at), max(fire_at), count(DISTINCT export_date), (SELECT count(*) FROM export_jobs)
         FROM export_schedule_fires",
    )
    .fetch_one(&clock.pool)
    .await
    .unwrap();
    // From the second after the schedule's beginning on.
    let late = (first - begun).num_milliseconds() > 1_000;
    let wanted = (last - first).num_seconds() + 1 + i64::from(late);
    Tally {
        fires: usize::try_from(fires).unwrap(),
        lost: usize::try_from((wanted - fires).max(0)).unwrap(),
        doubled: usize::try_from((fires - wanted).max(0) + (jobs - days).max(0)).unwrap(),
        foreign: 0,
        beside: 0,
        killed,
    }
}
