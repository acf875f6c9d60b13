//! The calendar of a schedule: fires and days as pure arithmetic.
//!
//! A cron expression names times of a wall clock. They are walked on a clock without daylight saving, and each is put
//! into the time zone afterwards: one that the zone skips fires when the gap is over, one that it has twice fires the
//! first time. So a schedule of one time a day fires once on every day that there is.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};

use crate::jobs::Window;

/// What is wrong with a schedule's settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// Not a cron expression.
    #[error(
        "'{0}' is not a cron expression; write six fields, as in '0 0 2 * * *' for every day at 02:00:00, or five without seconds"
    )]
    Expression(String),
    /// No time ever matches, such as 30 February.
    #[error("'{0}' never fires; no date has what it asks for")]
    Never(String),
    /// Not a time zone.
    #[error("'{0}' is not an IANA time zone; write one as in 'UTC' or 'Europe/Warsaw'")]
    Zone(String),
}

/// When a schedule fires, and what it exports then.
#[derive(Debug, Clone)]
pub struct Calendar {
    cron: Cron,
    zone: Tz,
}

impl Calendar {
    /// By this cron expression (seconds first; five fields mean second 0) in this IANA time zone.
    ///
    /// # Errors
    /// What is wrong with either, with what was given.
    pub fn new(expression: &str, zone: &str) -> Result<Self, CalendarError> {
        let zone = zone.parse().map_err(|_| CalendarError::Zone(zone.to_owned()))?;
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let cron = parser.parse(expression).map_err(|_| CalendarError::Expression(expression.to_owned()))?;
        // Any date comes up within 28 years, so whatever is not found from here on never is.
        if cron.find_next_occurrence(&DateTime::UNIX_EPOCH, true).is_err() {
            return Err(CalendarError::Never(expression.to_owned()));
        }
        Ok(Self { cron, zone })
    }

    /// The time zone.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The fires after `after`, the first first. Never ends before the calendar does.
    pub fn fires(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        // Times that a coming gap moves stand behind what the clock shows now. What it shows of a second would be in all of them.
        let wall = self.wall(after);
        let mut wall = wall.with_nanosecond(0).unwrap_or(wall).and_utc();
        let mut last = after;
        std::iter::from_fn(move || {
            loop {
                wall = self.cron.find_next_occurrence(&wall, false).ok()?;
                let fire = self.instant(wall.naive_utc());
                if fire > last {
                    last = fire;
                    return Some(fire);
                }
            }
        })
    }

    /// The day that a fire exports: the one that has ended when it fires.
    pub fn day_of(&self, fire: DateTime<Utc>) -> NaiveDate {
        let today = self.wall(fire).date();
        today.pred_opt().unwrap_or(today)
    }

    /// The day of this zone that an instant is on.
    pub fn date(&self, at: DateTime<Utc>) -> NaiveDate {
        self.wall(at).date()
    }

    /// A calendar day of the zone: 24 hours, or 23 or 25 where the clock is changed. `None` for a day that the zone
    /// has skipped altogether.
    pub fn window(&self, day: NaiveDate) -> Option<Window> {
        let midnight = |day: NaiveDate| self.instant(day.and_time(NaiveTime::MIN));
        let window = Window { start: midnight(day), end: midnight(day.checked_add_days(Days::new(1))?) };
        (window.start < window.end).then_some(window)
    }

    fn wall(&self, at: DateTime<Utc>) -> NaiveDateTime {
        at.with_timezone(&self.zone).naive_local()
    }

    /// When the zone's clocks show this; the first time of two, and the end of the gap for what they skip.
    fn instant(&self, wall: NaiveDateTime) -> DateTime<Utc> {
        match self.zone.from_local_datetime(&wall).earliest() {
            Some(at) => at.to_utc(),
            None => self.end_of_gap(wall),
        }
    }

    /// The instant at which clocks jump over this time.
    fn end_of_gap(&self, wall: NaiveDateTime) -> DateTime<Utc> {
        // As if the zone were UTC: no offset reaches a day, so these two are before and after the jump.
        let (mut before, mut after) = ((wall - LONGEST_GAP).and_utc(), (wall + LONGEST_GAP).and_utc());
        // The clock shows less than `wall` at `before`, and more from the jump on.
        while after - before > TimeDelta::seconds(1) {
            let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
            if self.wall(middle) < wall { before = middle } else { after = middle }
        }
        after
    }
}

/// More than any zone has ever skipped, and more than any zone is away from UTC.
const LONGEST_GAP: TimeDelta = TimeDelta::hours(26);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn fires(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let calendar = Calendar::new(expression, zone).unwrap();
        let fires = calendar.fires(at(after)).take(count);
        fires.map(|fire| fire.format("%Y-%m-%dT%H:%M:%S%.f").to_string()).collect()
    }

    #[test]
    fn a_time_that_clocks_skip_or_repeat_fires_once() {
        // In Berlin the clock goes from 02:00 to 03:00 on 29 March 2026, at 01:00 UTC, and back on 25 October.
        for (expression, zone, after, expected) in [
            ("0 0 2 * * *", "UTC", "2026-03-01T02:00:00Z", &["2026-03-02T02:00:00", "2026-03-03T02:00:00"][..]),
            ("0 2 * * *", "UTC", "2026-03-01T01:59:59Z", &["2026-03-01T02:00:00"]),
            ("0 0 2 * * *", "UTC", "2026-03-01T01:59:59.717Z", &["2026-03-01T02:00:00", "2026-03-02T02:00:00"]),
            ("0 0 2 * * *", "UTC", "2026-03-01T02:00:00.717Z", &["2026-03-02T02:00:00"]),
            (
                "0 30 2 * * *",
                "Europe/Berlin",
                "2026-03-27T12:00:00Z",
                &["2026-03-28T01:30:00", "2026-03-29T01:00:00", "2026-03-30T00:30:00"],
            ),
            ("0 30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00", "2026-10-26T01:30:00"]),
            // Every quarter of an hour: those of the gap and the one at its end are one fire.
            (
                "0 */15 * * * *",
                "Europe/Berlin",
                "2026-03-29T00:40:00Z",
                &["2026-03-29T00:45:00", "2026-03-29T01:00:00", "2026-03-29T01:15:00"],
            ),
            // Asked from inside the gap's shadow.
            ("0 30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", &["2026-03-30T00:30:00"]),
            // Half an hour, at Lord Howe; midnight is skipped in Beirut.
            ("0 15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", &["2026-10-03T15:30:00"]),
            ("0 0 0 * * *", "Asia/Beirut", "2026-03-28T12:00:00Z", &["2026-03-28T22:00:00", "2026-03-29T21:00:00"]),
            ("0 0 12 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T12:00:00"]),
        ] {
            assert_eq!(fires(expression, zone, after, expected.len()), expected, "{expression} {zone} {after}");
        }
    }

    #[test]
    fn days_are_as_long_as_the_zone_makes_them() {
        for (zone, day, start, hours) in [
            ("UTC", "2026-03-29", "2026-03-29T00:00:00Z", 24),
            ("Europe/Berlin", "2026-03-28", "2026-03-27T23:00:00Z", 24),
            ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", 23),
            ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", 25),
            ("America/New_York", "2026-11-01", "2026-11-01T04:00:00Z", 25),
            ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00Z", 23),
            ("Asia/Kolkata", "2026-03-29", "2026-03-28T18:30:00Z", 24),
        ] {
            let window = Calendar::new("0 0 2 * * *", zone).unwrap().window(day.parse().unwrap()).unwrap();
            assert_eq!((window.start, (window.end - window.start).num_hours()), (at(start), hours), "{zone} {day}");
        }
        let samoa = Calendar::new("0 0 2 * * *", "Pacific/Apia").unwrap();
        assert_eq!(samoa.window("2011-12-30".parse().unwrap()), None, "a day that was skipped");
        assert!(samoa.window("2011-12-31".parse().unwrap()).is_some());
    }

    #[test]
    fn a_fire_exports_the_day_that_has_ended() {
        let berlin = Calendar::new("0 0 2 * * *", "Europe/Berlin").unwrap();
        for (fire, day) in [
            ("2026-03-02T01:00:00Z", "2026-03-01"),
            ("2026-03-01T22:59:59Z", "2026-02-28"),
            ("2026-03-01T23:00:00Z", "2026-03-01"),
        ] {
            assert_eq!(berlin.day_of(at(fire)).to_string(), day, "{fire}");
        }
    }

    #[test]
    fn wrong_settings_say_what_is_wrong() {
        for (expression, zone, words) in [
            ("", "UTC", "not a cron expression"),
            ("every day", "UTC", "'every day' is not a cron expression"),
            ("0 0 25 * * *", "UTC", "not a cron expression"),
            ("0 0 2 30 2 *", "UTC", "'0 0 2 30 2 *' never fires"),
            ("0 0 2 * * *", "Mars/Olympus", "'Mars/Olympus' is not an IANA time zone"),
            ("0 0 2 * * *", "", "not an IANA time zone"),
        ] {
            let error = Calendar::new(expression, zone).unwrap_err().to_string();
            assert!(error.contains(words), "{expression} {zone}: {error}");
        }
    }
}
