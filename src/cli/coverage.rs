//! `data-exporter coverage`: which days are exported, as a calendar.

use std::process::ExitCode;

use chrono::{Datelike, Days, NaiveDate};
use clap::Args;
use serde_json::{Value, json};

use super::output::{self, bytes, grouped};
use super::settings;
use crate::config::{Needs, Source};
use crate::error::Failure;
use crate::jobs::coverage::{DayCoverage, DayState, TableCoverage};
use crate::startup;

/// Days before the last one that are shown when nobody says from when: five weeks, it included.
const USUAL: u64 = 34;

#[derive(Debug, Args)]
#[command(after_help = "Example, a month:\n  data-exporter coverage --from 2026-03-01 --to 2026-03-31\n\n\
                        It reads the metadata database alone. `is-exported` looks at the bucket and the warehouse, too.")]
pub(super) struct CoverageArgs {
    /// The first day; left out: five weeks up to the last one.
    #[arg(long, value_name = "DATE")]
    from: Option<NaiveDate>,
    /// The last day; left out: today in EXPORTER_TIMEZONE.
    #[arg(long, value_name = "DATE")]
    to: Option<NaiveDate>,
    /// List the tables of each day.
    #[arg(long)]
    tables: bool,
}

pub(super) async fn run(source: &Source, args: &CoverageArgs, json: bool) -> Result<ExitCode, Failure> {
    let settings = settings(source, Needs { database: true, ..Needs::default() })?;
    let coverage = startup::coverage(&settings).await?;
    let to = match args.to {
        Some(to) => to,
        None => coverage.today().await?,
    };
    let from = args.from.unwrap_or_else(|| to.checked_sub_days(Days::new(USUAL)).unwrap_or(to));
    let days = coverage.days(from, to).await?;
    if json {
        output::json(&days.iter().map(of_day).collect::<Vec<_>>());
    } else {
        text(&days, args.tables).iter().for_each(|line| output::line(line));
    }
    let fine = days.iter().all(|day| day.state.is_fine());
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn of_day(day: &DayCoverage) -> Value {
    json!({
        "date": day.date, "state": day.state.as_str(), "revision": day.revision, "rows": day.rows(),
        "requestId": day.job.map(|job| job.to_string()),
        "error": day.error.as_ref().map(|error| json!({"code": error.code, "message": error.message})),
        "tables": day.tables.iter().map(of_table).collect::<Vec<_>>(), "lacking": day.lacking,
    })
}

fn of_table(table: &TableCoverage) -> Value {
    json!({
        "table": table.name, "status": table.status, "revision": table.revision,
        "publishedRevision": table.published_revision, "rows": table.rows, "bytes": table.bytes,
        "manifestUrl": table.manifest, "unchangedSince": table.unchanged_since,
        "error": table.error.as_ref().map(|error| json!({"code": error.code, "message": error.message})),
    })
}

/// The sign of a day in the calendar, and its words.
fn sign(state: DayState) -> (char, &'static str) {
    match state {
        DayState::Exported => ('x', "exported"),
        DayState::Incomplete => ('!', "incomplete"),
        DayState::InProgress => ('~', "in progress"),
        DayState::Missing => ('-', "missing"),
        DayState::Missed => ('m', "missed"),
        DayState::NotOver => ('.', "not over"),
    }
}

/// The calendar: a line for each week, what is not exported, and the sum.
fn text(days: &[DayCoverage], tables: bool) -> Vec<String> {
    let mut lines = vec!["week of     Mo Tu We Th Fr Sa Su".to_owned()];
    lines.extend(weeks(days));
    let legend: Vec<String> = DayState::ALL.iter().map(|state| sign(*state)).map(|(c, w)| format!("{c} {w}")).collect();
    lines.push(format!("            {}", legend.join("  ")));
    lines.push(String::new());
    for day in days.iter().filter(|day| tables && day.job.is_some() || !day.state.is_fine()) {
        lines.extend(told(day, tables));
    }
    let over: Vec<&DayCoverage> = days.iter().filter(|day| day.state != DayState::NotOver).collect();
    let exported = over.iter().filter(|day| day.state == DayState::Exported).count();
    let rows: i64 = days.iter().map(DayCoverage::rows).sum();
    lines.push(format!("{exported} of {} days that are over are exported, {} rows", over.len(), grouped(rows)));
    lines
}

fn weeks(days: &[DayCoverage]) -> Vec<String> {
    let mut weeks: Vec<(NaiveDate, [char; 7])> = Vec::new();
    for day in days {
        let place = day.date.weekday().num_days_from_monday();
        let monday = day.date.checked_sub_days(Days::new(place.into())).unwrap_or(day.date);
        if weeks.last().is_none_or(|(last, _)| *last != monday) {
            weeks.push((monday, [' '; 7]));
        }
        if let Some((_, signs)) = weeks.last_mut() {
            signs[place as usize] = sign(day.state).0;
        }
    }
    let line = |(monday, signs): (NaiveDate, [char; 7])| {
        let signs: Vec<String> = signs.iter().map(|sign| format!(" {sign}")).collect();
        format!("{monday}  {}", signs.join(" ")).trim_end().to_owned()
    };
    weeks.into_iter().map(line).collect()
}

/// A day in words: its state, and the tables that need a word, or all of them.
fn told(day: &DayCoverage, all: bool) -> Vec<String> {
    let revision = day.revision.map(|revision| format!(", revision {revision}")).unwrap_or_default();
    let error = day.error.as_ref().map(|error| format!(": {} [{}]", error.message, error.code)).unwrap_or_default();
    let mut lines = vec![format!("{} {}  {}{revision}{error}", day.date, day.date.format("%a"), sign(day.state).1)];
    for table in day.tables.iter().filter(|table| all || table.status != "COMPLETED") {
        let mut line = format!("    {}  {}, revision {}", table.name, table.status, table.revision);
        if let (Some(rows), Some(size)) = (table.rows, table.bytes) {
            line.push_str(&format!(", {} rows, {}", grouped(rows), bytes(size)));
        }
        if let Some(since) = table.unchanged_since {
            line.push_str(&format!(", unchanged since {since}"));
        }
        if let Some(before) = table.published_revision.filter(|published| *published != table.revision) {
            line.push_str(&format!("; revision {before} is out"));
        }
        if let Some(error) = &table.error {
            line.push_str(&format!(": {} [{}]", error.message, error.code));
        }
        lines.push(line);
    }
    if !day.lacking.is_empty() {
        lines.push(format!("    not in it, and scheduled now: {}", day.lacking.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(date: &str, state: DayState) -> DayCoverage {
        DayCoverage {
            date: date.parse().unwrap(),
            state,
            job: None,
            revision: None,
            error: None,
            tables: Vec::new(),
            lacking: Vec::new(),
        }
    }

    #[test]
    fn weeks_are_lines_and_days_stand_under_their_names() {
        // 1 March 2026 is a Sunday.
        let days: Vec<DayCoverage> = [
            ("2026-02-28", DayState::Missed),
            ("2026-03-01", DayState::Exported),
            ("2026-03-02", DayState::Incomplete),
            ("2026-03-03", DayState::InProgress),
            ("2026-03-04", DayState::Missing),
            ("2026-03-05", DayState::NotOver),
        ]
        .map(|(date, state)| day(date, state))
        .to_vec();
        let lines = text(&days, false);
        assert_eq!(
            lines[..3],
            ["week of     Mo Tu We Th Fr Sa Su", "2026-02-23                  m  x", "2026-03-02   !  ~  -  ."]
        );
        assert_eq!(lines[0].find("Sa").unwrap() + 1, lines[1].find('m').unwrap());
        assert_eq!(lines.last().unwrap(), "1 of 5 days that are over are exported, 0 rows");
        assert_eq!(lines.iter().filter(|line| line.starts_with("2026-03-0") && line.contains("  mis")).count(), 1);
    }
}
