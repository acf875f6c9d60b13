//! Days of the schedule in tests: a worker that exports them, and waiting until one is closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_exporter::jobs::days::{Day, DayRun, Days};
use data_exporter::pipeline::PipelineSettings;
use data_exporter::schedule::Calendar;
use data_exporter::warehouse::postgres::PostgresOptions;

use super::inprocess::{Running, Troubled};
use super::platform::Platform;
use super::s3;

/// A worker that does not wait long before it tries again.
pub(crate) async fn worker(platform: &Platform) -> Running {
    let warehouse = Arc::new(Troubled::new(platform, PostgresOptions::default()));
    let store = Arc::new(platform.s3.store(s3::BUCKET).await.unwrap());
    let settings = PipelineSettings { retry_pause: Duration::from_millis(10), ..PipelineSettings::default() };
    Running::with_settings(platform, warehouse, store, settings)
}

/// This date in this zone.
pub(crate) fn day(zone: &str, date: &str) -> Day {
    let date = date.parse().unwrap();
    let window = Calendar::new("0 0 2 * * *", zone).unwrap().window(date).unwrap();
    Day { date, window, time_zone: zone.to_owned() }
}

/// Exports a day and waits until it is closed. Returns whether it succeeded.
pub(crate) async fn export(platform: &Platform, day: &Day, tables: Option<&[String]>) -> bool {
    let run = DayRun { schedule: "daily", day, tables, requested_by: "test", lag: Duration::ZERO };
    Days::new(platform.metadata.clone()).run(&run).await.unwrap();
    closed(platform, day).await
}

/// Waits until the last revision of a day is closed. Returns whether it succeeded.
pub(crate) async fn closed(platform: &Platform, day: &Day) -> bool {
    let last = "SELECT succeeded FROM export_days WHERE export_date = $1 ORDER BY revision DESC LIMIT 1";
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let found: Option<bool> = sqlx::query_scalar(last).bind(day.date).fetch_one(&platform.metadata).await.unwrap();
        if let Some(succeeded) = found {
            return succeeded;
        }
        assert!(Instant::now() < deadline, "the day is not closed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
