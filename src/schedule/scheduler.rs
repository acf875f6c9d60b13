//! Deciding what is due, again and again.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use super::Calendar;
use crate::error::{ErrorCode, Failure};
use crate::jobs::days::{Day, Days, Decided, Fire, Now, Outcome};

/// How often it is looked for what is due, whatever the timer does: its clock is this process's, and it keeps the
/// offset that its zone had when it was set.
const LOOK: Duration = Duration::from_secs(30);
/// A fire that nobody has decided for so long was missed: nobody was running.
const MISSED: TimeDelta = TimeDelta::minutes(10);
/// The most fires that are decided in one transaction; the next one goes on behind them.
const AT_ONCE: usize = 10_000;
/// The most days that are caught up.
const MOST_CAUGHT_UP: usize = 31;

/// What becomes of days whose fire nobody was there for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// All are exported, the last 31 at most.
    #[default]
    All,
    /// The last one is.
    Latest,
    /// None is.
    None,
}

/// Decides what is due of one schedule.
#[derive(Debug, Clone)]
pub struct Scheduler {
    name: String,
    calendar: Calendar,
    catch_up: CatchUp,
    lag: Duration,
    days: Days,
}

impl Scheduler {
    /// Of the schedule of this name. `lag` after its end a day is exported, because rows come late.
    pub fn new(name: impl Into<String>, calendar: Calendar, catch_up: CatchUp, lag: Duration, days: Days) -> Self {
        Self { name: name.into(), calendar, catch_up, lag, days }
    }

    /// The schedule's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The days that it has exported.
    pub fn days(&self) -> &Days {
        &self.days
    }

    /// A day of the schedule's time zone.
    ///
    /// # Errors
    /// `RANGE_INVALID` for a date that its zone has skipped.
    pub fn day(&self, date: NaiveDate) -> Result<Day, Failure> {
        day(&self.calendar, date).ok_or_else(|| {
            let zone = self.calendar.zone();
            Failure::new(ErrorCode::RangeInvalid, format!("there was no {date} in {zone}: the zone skipped it"))
        })
    }

    /// Decides every fire that is due, and starts what they export.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`; then nothing was decided.
    pub async fn decide(&self, now: Now) -> Result<Vec<Decided>, Failure> {
        let (calendar, catch_up) = (&self.calendar, self.catch_up);
        self.days.decide(&self.name, self.lag, now, |until, now| due(calendar, catch_up, until, now)).await
    }

    /// Decides what is due until `stop` is cancelled.
    ///
    /// # Errors
    /// `INTERNAL` when the timer cannot be started.
    pub async fn run(&self, expression: &str, stop: &CancellationToken) -> Result<(), Failure> {
        let woken = Arc::new(Notify::new());
        let timer = self.timer(expression, &woken).await.map_err(|_| {
            Failure::new(ErrorCode::Internal, "the schedule's timer cannot be started; restart the process")
        });
        let mut timer = timer?;
        tracing::info!(schedule = %self.name, zone = %self.calendar.zone(), "scheduler started");
        let mut reachable = true;
        while !stop.is_cancelled() {
            match self.decide(Now::OfDatabase).await {
                Ok(decided) => {
                    reachable = true;
                    decided.iter().for_each(|decided| self.tell(decided));
                }
                Err(failure) if reachable => {
                    reachable = false;
                    tracing::warn!(code = %failure.code, "cannot decide what is due; trying again");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = woken.notified() => {}
                () = tokio::time::sleep(LOOK.mul_f64(rand::random_range(0.8..1.2))) => {}
            }
        }
        // It only wakes: nothing is lost with it.
        let _ = timer.shutdown().await;
        Ok(())
    }

    async fn timer(&self, expression: &str, woken: &Arc<Notify>) -> Result<JobScheduler, JobSchedulerError> {
        let timer = JobScheduler::new().await?;
        let woken = Arc::clone(woken);
        // It takes six fields alone.
        let six =
            if expression.split_whitespace().count() == 5 { format!("0 {expression}") } else { expression.to_owned() };
        timer.add(Job::new_tz(six, self.calendar.zone(), move |_, _| woken.notify_one())?).await?;
        timer.start().await?;
        Ok(timer)
    }

    fn tell(&self, decided: &Decided) {
        let Decided { fire, outcome } = decided;
        let (schedule, date, fire) = (&self.name, fire.day.date, fire.at);
        match outcome {
            Outcome::Started(job) => tracing::info!(%schedule, %date, %fire, %job, "a day is due"),
            Outcome::Known(job) => tracing::info!(%schedule, %date, %fire, %job, "a day that is due has a job already"),
            Outcome::Missed => {
                tracing::warn!(%schedule, %date, %fire, "a day was missed and is not caught up; export it with: data-exporter run --date {date}");
            }
        }
    }
}

fn day(calendar: &Calendar, date: NaiveDate) -> Option<Day> {
    calendar.window(date).map(|window| Day { date, window, time_zone: calendar.zone().name().to_owned() })
}

/// The fires after `until` and not after `now`, with what is too late for them.
fn due(calendar: &Calendar, catch_up: CatchUp, until: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Fire> {
    let mut fires: Vec<Fire> = calendar
        .fires(until)
        .take_while(|fire| *fire <= now)
        .take(AT_ONCE)
        .filter_map(|at| Some(Fire { at, day: day(calendar, calendar.day_of(at))?, missed: false }))
        .collect();
    let last = fires.len().saturating_sub(1);
    let caught_up = fires.len().saturating_sub(MOST_CAUGHT_UP);
    for (place, fire) in fires.iter_mut().enumerate() {
        let late = now - fire.at > MISSED;
        fire.missed = match catch_up {
            CatchUp::All => place < caught_up,
            CatchUp::Latest => late && place < last,
            CatchUp::None => late,
        };
    }
    fires
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_caught_up_as_it_is_set() {
        let calendar = Calendar::new("0 0 2 * * *", "UTC").unwrap();
        let until: DateTime<Utc> = "2026-03-01T02:00:00Z".parse().unwrap();
        for (now, catch_up, expected) in [
            ("2026-03-02T01:59:59Z", CatchUp::All, &[][..]),
            ("2026-03-02T02:00:00Z", CatchUp::All, &[("2026-03-01", false)]),
            ("2026-03-02T02:00:00Z", CatchUp::None, &[("2026-03-01", false)]),
            ("2026-03-02T02:11:00Z", CatchUp::None, &[("2026-03-01", true)]),
            ("2026-03-02T02:11:00Z", CatchUp::Latest, &[("2026-03-01", false)]),
            (
                "2026-03-04T12:00:00Z",
                CatchUp::All,
                &[("2026-03-01", false), ("2026-03-02", false), ("2026-03-03", false)],
            ),
            (
                "2026-03-04T12:00:00Z",
                CatchUp::Latest,
                &[("2026-03-01", true), ("2026-03-02", true), ("2026-03-03", false)],
            ),
            (
                "2026-03-04T12:00:00Z",
                CatchUp::None,
                &[("2026-03-01", true), ("2026-03-02", true), ("2026-03-03", true)],
            ),
        ] {
            let found = due(&calendar, catch_up, until, now.parse().unwrap());
            let found: Vec<(String, bool)> =
                found.into_iter().map(|fire| (fire.day.date.to_string(), fire.missed)).collect();
            let expected: Vec<(String, bool)> =
                expected.iter().map(|(date, missed)| ((*date).to_owned(), *missed)).collect();
            assert_eq!(found, expected, "{now} {catch_up:?}");
        }
        let year = due(&calendar, CatchUp::All, until, "2027-03-01T03:00:00Z".parse().unwrap());
        assert_eq!((year.len(), year.iter().filter(|fire| !fire.missed).count()), (365, MOST_CAUGHT_UP));
        assert!(!year.last().unwrap().missed);
    }
}
