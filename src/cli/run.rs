//! `data-exporter run`.

use std::process::ExitCode;
use std::time::Duration;

use chrono::NaiveDate;
use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::output::{self, Progress};
use super::settings;
use crate::config::{Needs, Source};
use crate::error::{ErrorCode, Failure};
use crate::identity::Actor;
use crate::jobs::{JobState, JobView, TableState, Tenant};
use crate::pipeline::run_job;
use crate::startup::Services;
use crate::upkeep::{ScheduledRuns, Todo, Wish};
use crate::{lifecycle, telemetry};

/// How long it waits while another process writes a day's end.
const CLOSING: Duration = Duration::from_millis(200);
/// The most days of one command.
const MOST_DAYS: i64 = 3_700;

#[derive(Debug, Args)]
#[command(
    after_help = "Days that are exported already are passed over, and of days that failed the tables that did, or that were never\n\
                  asked for, are exported, so a command that was interrupted is simply given again.\n\n\
                  Example, the first week of March:\n  data-exporter run --date 2026-03-01 --to 2026-03-07"
)]
pub(super) struct RunArgs {
    /// A day of the schedule, in EXPORTER_TIMEZONE.
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: NaiveDate,
    /// The last day, if there are several.
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<NaiveDate>,
    /// A table to export, even if it is exported already; may be repeated. Without it, every table of the schedule.
    #[arg(long = "table", value_name = "T")]
    tables: Vec<String>,
    /// Of days that failed the tables that did or are missing, and no day that has no export yet.
    #[arg(long, conflicts_with = "tables")]
    failed: bool,
    /// Export days again that are exported already: the new files supersede the old ones.
    #[arg(long, conflicts_with = "failed")]
    again: bool,
}

impl RunArgs {
    fn days(&self) -> Result<Vec<NaiveDate>, Failure> {
        let (first, last) = (self.date, self.to.unwrap_or(self.date));
        let count = (last - first).num_days() + 1;
        if !(1..=MOST_DAYS).contains(&count) {
            let why = format!("--to {last} is not within {MOST_DAYS} days from --date {first} on");
            return Err(Failure::new(ErrorCode::RangeInvalid, why));
        }
        Ok(first.iter_days().take(usize::try_from(count).unwrap_or(0)).collect())
    }

    fn wish(&self) -> Wish {
        match (self.failed, self.again) {
            (true, _) => Wish::Failed,
            (_, true) => Wish::Again,
            _ => Wish::Missing,
        }
    }
}

/// What became of a day.
struct Done {
    date: NaiveDate,
    /// `None`: there was nothing to do.
    job: Option<JobView>,
}

impl Done {
    fn well(&self) -> bool {
        self.job.as_ref().is_none_or(|job| job.state == JobState::Completed)
    }
}

pub(super) async fn run(source: &Source, args: &RunArgs, json: bool) -> Result<ExitCode, Failure> {
    let dates = args.days()?;
    let needs = Needs { database: true, warehouse: true, bucket: true, works: true, local: false };
    let settings = settings(source, needs)?;
    telemetry::start_metrics().map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
    let stop = lifecycle::stop_on_signal()
        .map_err(|error| Failure::new(ErrorCode::Internal, format!("signals cannot be caught: {error}")))?;
    let services = Services::start(settings, false).await?;
    let runs = ScheduledRuns::new(services.scheduler());
    let mut all_well = true;
    let mut told = Vec::new();
    let ended: Result<(), Failure> = async {
        for date in dates {
            let done = one(&services, &runs, args, date, &stop, json).await?;
            all_well &= done.well();
            if json { told.push(for_machines(&done)) } else { say(&done) }
        }
        Ok(())
    }
    .await;
    services.stop().await;
    if json && !told.is_empty() {
        output::json(&json!({"days": told}));
    }
    ended?;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn one(
    services: &Services,
    runs: &ScheduledRuns,
    args: &RunArgs,
    date: NaiveDate,
    stop: &CancellationToken,
    json: bool,
) -> Result<Done, Failure> {
    let tables = (!args.tables.is_empty()).then_some(args.tables.as_slice());
    let job = match runs.ensure(date, args.wish(), tables, &Actor::command_line(super::actor())).await? {
        Todo::Nothing => return Ok(Done { date, job: None }),
        Todo::Started(job) | Todo::Join(job) => job,
    };
    if !json {
        output::note(&format!("{date}: job {job}"));
    }
    let worker = services.worker(Some(job)).await?;
    let mut progress = Progress::new(json);
    let tenant = Tenant::default();
    let watch = |view: &JobView| progress.job(view);
    let ended = run_job(&worker, &services.requests, &tenant, job, stop.clone(), watch).await;
    progress.end();
    let view = ended?;
    // Its tables are published; what says so of the day comes last.
    while !services.scheduler().days().is_closed(job).await? {
        if !worker.close_day().await? {
            // Somebody else is about it.
            tokio::time::sleep(CLOSING).await;
        }
    }
    Ok(Done { date, job: Some(view) })
}

fn say(done: &Done) {
    let Some(job) = &done.job else {
        output::line(&format!("{}: exported already", done.date));
        return;
    };
    let published = job.tables.iter().filter(|table| table.state == TableState::Completed);
    let (tables, rows) = published.fold((0, 0), |(tables, rows), table| (tables + 1, rows + table.rows));
    output::line(&format!(
        "{}: {}, {tables} tables, {} rows",
        done.date,
        job.state.status().to_lowercase(),
        output::grouped(rows)
    ));
    for table in &job.tables {
        if let Some(error) = &table.error {
            output::line(&format!("  {}: {} [{}]", table.name, error.message, error.code));
        }
    }
    if let (true, Some(error)) = (job.tables.is_empty(), &job.error) {
        output::line(&format!("  {} [{}]", error.message, error.code));
    }
}

fn for_machines(done: &Done) -> serde_json::Value {
    let Some(job) = &done.job else { return json!({"date": done.date.to_string(), "status": "Exported already"}) };
    let tables: serde_json::Map<_, _> = job
        .tables
        .iter()
        .map(|table| {
            let error = table.error.as_ref().map(|error| json!({"code": error.code, "message": error.message}));
            let value =
                json!({"status": table.state.as_str(), "rows": table.rows, "bytes": table.bytes, "error": error});
            (table.name.to_string(), value)
        })
        .collect();
    json!({
        "date": done.date.to_string(),
        "requestId": job.id.to_string(),
        "status": job.state.status(),
        "tables": tables,
        "error": job.error.as_ref().map(|error| json!({"code": error.code, "message": error.message})),
    })
}
