//! The schedule's settings.

use std::time::Duration;

use super::source::Reader;
use crate::schedule::{Calendar, CatchUp};

/// When days are exported.
#[derive(Debug, Clone)]
pub struct ScheduleSettings {
    /// `EXPORTER_SCHEDULE`, as it was written.
    pub expression: String,
    /// `EXPORTER_SCHEDULE` in `EXPORTER_TIMEZONE`.
    pub calendar: Calendar,
    /// `EXPORTER_CATCH_UP`.
    pub catch_up: CatchUp,
    /// `EXPORTER_SCHEDULE_LAG_SECONDS`: how long after its end a day is not exported yet, because rows come late.
    pub lag: Duration,
}

/// Every night at two, unless it is set.
const NIGHTLY: &str = "0 0 2 * * *";

pub(super) fn read(read: &mut Reader<'_>) -> ScheduleSettings {
    let zone = read.parsed("EXPORTER_TIMEZONE", "UTC".to_owned(), |zone| {
        Calendar::new(NIGHTLY, zone).map(|_| zone.to_owned()).map_err(|error| format!("is wrong: {error}"))
    });
    let calendar = |expression: &str| Calendar::new(expression, &zone).map_err(|error| format!("is wrong: {error}"));
    let set = read.optional("EXPORTER_SCHEDULE", |expression| Ok((expression.to_owned(), calendar(expression)?)));
    let usual = || (NIGHTLY.to_owned(), calendar(NIGHTLY).expect("both have been looked at"));
    let (expression, calendar) = set.unwrap_or_else(usual);
    ScheduleSettings {
        expression,
        calendar,
        catch_up: read.parsed("EXPORTER_CATCH_UP", CatchUp::All, |text| match text {
            "all" => Ok(CatchUp::All),
            "latest" => Ok(CatchUp::Latest),
            "none" => Ok(CatchUp::None),
            _ => Err("is none of all, latest and none".to_owned()),
        }),
        lag: Duration::from_secs(read.number("EXPORTER_SCHEDULE_LAG_SECONDS", 0, 0..=172_800)),
    }
}
