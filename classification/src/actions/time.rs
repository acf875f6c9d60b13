//! Cutting times to the beginning of an hour, a day, a month.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A part of time, to whose beginning times are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimePart {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week, from Monday on.
    Week,
    /// A month.
    Month,
    /// A quarter.
    Quarter,
    /// A year.
    Year,
}

impl TimePart {
    /// Whether it consists of whole days.
    pub fn is_days(self) -> bool {
        !matches!(self, Self::Minute | Self::Hour)
    }
}

impl fmt::Display for TimePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        })
    }
}

/// The beginning of the part in which an instant lies, both in microseconds since 1970 in UTC. `None` for instants
/// beyond the calendar, infinity among them.
pub fn trunc_micros(micros: i64, part: TimePart) -> Option<i64> {
    let floor = |unit: i64| micros.div_euclid(unit).checked_mul(unit);
    match part {
        TimePart::Minute => floor(MINUTE),
        TimePart::Hour => floor(HOUR),
        TimePart::Day => floor(DAY),
        _ => i64::from(trunc_days(i32::try_from(micros.div_euclid(DAY)).ok()?, part)?).checked_mul(DAY),
    }
}

/// The beginning of the part in which a day lies, both in days since 1970. `None` for days beyond the calendar.
pub fn trunc_days(days: i32, part: TimePart) -> Option<i32> {
    let date = DateTime::from_timestamp(i64::from(days) * 86_400, 0)?.date_naive();
    let first = match part {
        TimePart::Minute | TimePart::Hour | TimePart::Day => return Some(days),
        TimePart::Week => return days.checked_sub_unsigned(date.weekday().num_days_from_monday()),
        TimePart::Month => date.with_day(1)?,
        TimePart::Quarter => NaiveDate::from_ymd_opt(date.year(), date.month0() / 3 * 3 + 1, 1)?,
        TimePart::Year => NaiveDate::from_ymd_opt(date.year(), 1, 1)?,
    };
    i32::try_from(first.signed_duration_since(NaiveDate::default()).num_days()).ok()
}
