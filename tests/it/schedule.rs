//! What is due: fires, days and their windows, against an oracle that only watches a clock.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use data_exporter::error::ErrorCode;
use data_exporter::jobs::days::{DayRun, Days, Now};
use data_exporter::schedule::{Calendar, CatchUp, Scheduler};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::postgres::{PgPool, PgPoolOptions};

use crate::support::{calendar, metadata, python};

type Fires = Vec<(DateTime<Utc>, NaiveDate, DateTime<Utc>, DateTime<Utc>)>;

const SCHEDULERS: usize = 5;
const DAYS: i64 = 400;
const FIRST: &str = "2026-01-15";

fn scheduler(pool: &PgPool, expression: &str, zone: &str, catch_up: CatchUp) -> Scheduler {
    let calendar = Calendar::new(expression, zone).unwrap();
    Scheduler::new("daily", calendar, catch_up, Duration::ZERO, Days::new(pool.clone()))
}

/// Lets five schedulers go through 400 days: they look at random times, alone or at once, each may be away, and now and
/// then all are for days.
async fn simulate(zone: &'static str, time: &'static str, seed: u64) {
    let pool = metadata::database(&format!("schedule_{seed}")).await;
    // A connection for each scheduler, and as long as a loaded machine takes to give it.
    let patient = PgPoolOptions::new().max_connections(SCHEDULERS as u32).acquire_timeout(Duration::from_secs(600));
    let pool = patient.connect_with(pool.connect_options().as_ref().clone()).await.unwrap();
    // Beside the others: while it is waited for, their connections must be answered in time.
    let asked = tokio::task::spawn_blocking(move || {
        python::run("schedule_oracle.py", [zone, time, FIRST, DAYS.to_string().as_str()])
    });
    let oracle: Fires = serde_json::from_str(&asked.await.unwrap()).unwrap();
    let (hour, minute) = time.split_once(':').unwrap();
    let expression = format!("0 {minute} {hour} * * *");
    let schedulers: Vec<Scheduler> =
        (0..SCHEDULERS).map(|_| scheduler(&pool, &expression, zone, CatchUp::All)).collect();
    let mut dice = StdRng::seed_from_u64(seed);
    let last = oracle.last().unwrap().0;
    // The first look, before the first fire: the schedule begins there.
    let mut now = oracle[0].0 - TimeDelta::seconds(1);
    while now < last {
        let looking = schedulers.iter().filter(|_| dice.random_bool(0.5));
        let decided = futures::future::join_all(looking.map(|one| one.decide(Now::At(now)))).await;
        assert!(decided.iter().all(Result::is_ok), "{decided:?}");
        let away = if dice.random_bool(0.02) { dice.random_range(1..25) * 1_440 } else { dice.random_range(1..1_500) };
        now += TimeDelta::minutes(away);
    }
    schedulers[0].decide(Now::At(last)).await.unwrap();

    let fired: Fires = sqlx::query_as(
        "SELECT fire.fire_at, fire.export_date, day.window_start, day.window_end
         FROM export_schedule_fires AS fire
         JOIN export_days AS day USING (job_id)
         JOIN export_jobs AS job ON job.id = day.job_id AND job.kind = 'scheduled'
              AND (job.window_start, job.window_end) = (day.window_start, day.window_end)
         WHERE fire.outcome = 'STARTED' AND day.revision = 1 AND day.export_date = fire.export_date
         ORDER BY fire_at",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(fired, oracle, "{zone}");
    let (fires, jobs): (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM export_schedule_fires), (SELECT count(*) FROM export_jobs)")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!((fires, jobs), (DAYS, DAYS), "{zone}: each fire exactly once");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fire_of_400_days_comes_once_with_its_window() {
    // Time that is skipped and repeated; midnight itself skipped; half an hour, in the south.
    tokio::join!(
        simulate("Europe/Berlin", "02:30", 1),
        simulate("America/Santiago", "00:00", 2),
        simulate("Australia/Lord_Howe", "02:15", 3),
    );
}

#[tokio::test]
async fn a_schedule_that_was_never_seen_begins_now_and_may_change() {
    let pool = metadata::database("schedule_begins").await;
    let at = |text: &str| Now::At(text.parse().unwrap());
    let nightly = scheduler(&pool, "0 0 2 * * *", "UTC", CatchUp::All);
    assert_eq!(nightly.decide(at("2026-03-02T12:00:00Z")).await.unwrap(), []);
    let dates = |decided: Vec<data_exporter::jobs::days::Decided>| -> Vec<String> {
        decided.into_iter().map(|one| format!("{} {:?}", one.fire.day.date, one.outcome)).collect()
    };
    let first = dates(nightly.decide(at("2026-03-03T02:00:00Z")).await.unwrap());
    assert!(first.len() == 1 && first[0].starts_with("2026-03-02 Started"), "{first:?}");
    assert_eq!(nightly.decide(at("2026-03-03T02:00:00Z")).await.unwrap(), [], "decided");
    // Another time of day, on the same day: the fire is recorded, the day is not exported twice.
    let evening = scheduler(&pool, "0 0 20 * * *", "UTC", CatchUp::All);
    let known = dates(evening.decide(at("2026-03-03T20:00:00Z")).await.unwrap());
    assert!(known.len() == 1 && known[0].starts_with("2026-03-02 Known"), "{known:?}");
    // A clock that was set back decides nothing again.
    assert_eq!(evening.decide(at("2026-03-03T19:00:00Z")).await.unwrap(), []);
    // Nobody was there for a week, and nothing is caught up.
    let careless = scheduler(&pool, "0 0 20 * * *", "UTC", CatchUp::None);
    let missed = dates(careless.decide(at("2026-03-10T21:00:00Z")).await.unwrap());
    assert!(missed.len() == 7 && missed.iter().all(|day| day.ends_with("Missed")), "{missed:?}");
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM export_jobs").fetch_one(&pool).await.unwrap();
    assert_eq!(jobs, 1);
}

#[tokio::test]
async fn the_real_clock_decides_what_it_shows() {
    let pool = metadata::database("schedule_clock").await;
    // Every second: after two of them something was due.
    let always = scheduler(&pool, "* * * * * *", "UTC", CatchUp::All);
    assert_eq!(always.decide(Now::OfDatabase).await.unwrap(), []);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let decided = always.decide(Now::OfDatabase).await.unwrap();
    assert!(!decided.is_empty());
    let yesterday: NaiveDate =
        sqlx::query_scalar("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date - 1").fetch_one(&pool).await.unwrap();
    assert!(decided.iter().all(|one| yesterday - one.fire.day.date <= TimeDelta::days(1)), "{decided:?}");
}

#[tokio::test]
async fn a_day_is_run_again_when_it_has_ended() {
    let pool = metadata::database("schedule_run").await;
    metadata::offer_tables(&pool).await;
    let days = Days::new(pool.clone());
    let day =
        scheduler(&pool, "0 0 2 * * *", "Europe/Berlin", CatchUp::All).day("2026-03-29".parse().unwrap()).unwrap();
    let tables = ["way".to_owned()];
    let run = DayRun {
        schedule: "daily",
        day: &day,
        tables: Some(&tables),
        requested_by: "somebody",
        lag: Duration::from_secs(3_600),
    };
    // A day that has just ended waits for its late rows.
    calendar::away_from_midnight().await;
    let yesterday: NaiveDate =
        sqlx::query_scalar("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date - 1").fetch_one(&pool).await.unwrap();
    let fresh = scheduler(&pool, "0 0 2 * * *", "UTC", CatchUp::All).day(yesterday).unwrap();
    days.run(&DayRun { day: &fresh, lag: Duration::from_secs(172_800), ..run.clone() }).await.unwrap();
    let waits = "DELETE FROM export_jobs RETURNING due_at = window_end + interval '2 days'";
    assert!(sqlx::query_scalar::<_, bool>(waits).fetch_one(&pool).await.unwrap());
    let today = scheduler(&pool, "0 0 2 * * *", "UTC", CatchUp::All).day(yesterday + TimeDelta::days(1)).unwrap();
    let early = days.run(&DayRun { day: &today, ..run.clone() }).await.unwrap_err();
    assert_eq!(early.code, ErrorCode::RangeInFuture);
    // Two at once: one of them starts it.
    let (one, other) = tokio::join!(days.run(&run), days.run(&run));
    let (started, refused): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
    assert_eq!((started.len(), refused.len()), (1, 1));
    assert_eq!(refused[0].as_ref().unwrap_err().code, ErrorCode::DayInProgress);
    assert!(refused[0].as_ref().unwrap_err().message.contains("2026-03-29"));
    let (job, revision) = *started[0].as_ref().unwrap();
    assert_eq!(revision, 1);
    let end = "UPDATE export_jobs SET state = 'CANCELLED', completed_at = clock_timestamp() WHERE id = $1";
    sqlx::query(end).bind(job.0).execute(&pool).await.unwrap();
    let (again, revision) = days.run(&run).await.unwrap();
    assert_eq!((revision, again == job), (2, false));
    assert_eq!(days.latest(day.date).await.unwrap().map(|run| (run.job, run.ended)), Some((again, false)));
    let due: bool = sqlx::query_scalar(
        "SELECT bool_and(kind = 'scheduled' AND tables = '{way}' AND requested_by = 'somebody'
                         AND due_at >= window_end + interval '1 h') FROM export_jobs",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert!(due);
}
