//! `data-exporter is-exported`: whether a table of a day is safely out.

use std::process::ExitCode;

use chrono::NaiveDate;
use clap::Args;
use classification::TableName;
use serde_json::{Value, json};

use super::output::{self, grouped};
use super::settings;
use crate::config::{Needs, Source};
use crate::error::{ErrorCode, Failure};
use crate::startup;
use crate::upkeep::exported::{NotOut, Published, TableOut};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  data-exporter is-exported way --date 2026-03-02\n\n\
                        Counting reads the rows of the day; EXPORTER_STATEMENT_TIMEOUT_SECONDS bounds it.")]
pub(super) struct ExportedArgs {
    /// The table, as export_tables names it.
    table: String,
    /// The day, in EXPORTER_TIMEZONE.
    #[arg(long, value_name = "DATE")]
    date: NaiveDate,
    /// The last day of several; at most 31.
    #[arg(long, value_name = "DATE")]
    to: Option<NaiveDate>,
}

pub(super) async fn run(source: &Source, args: &ExportedArgs, json: bool) -> Result<ExitCode, Failure> {
    let table: TableName =
        args.table.parse().map_err(|error| Failure::new(ErrorCode::BadRequest, format!("{error}")))?;
    let settings = settings(source, Needs { database: true, warehouse: true, bucket: true, ..Needs::default() })?;
    let exported = startup::exported(&settings).await?;
    let days = exported.days(&table, args.date, args.to.unwrap_or(args.date)).await?;
    if json {
        output::json(&days.iter().map(of_day).collect::<Vec<_>>());
    } else {
        days.iter().for_each(|day| output::line(&told(day)));
    }
    Ok(if days.iter().all(TableOut::is_complete) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn of_day(day: &TableOut) -> Value {
    let published = day.published.as_ref();
    json!({
        "table": day.table, "date": day.date, "exported": day.is_exported(), "complete": day.is_complete(),
        "reason": day.reason.map(NotOut::as_str), "revision": day.revision,
        "requestId": published.map(|published| published.job.to_string()),
        "manifestUrl": published.map(|published| &published.manifest),
        "manifestVerified": day.is_exported(),
        "rowsExported": published.map(|published| published.rows),
        "rowsNow": published.and_then(|published| published.rows_now), "lateRows": day.late_rows(),
        "rowsHeldBack": published.and_then(|published| published.rows_held_back),
    })
}

fn told(day: &TableOut) -> String {
    let revision = day.revision.map(|revision| format!(", revision {revision}")).unwrap_or_default();
    let about = format!("{} {}", day.date, day.table);
    let Some(reason) = day.reason else {
        let rows = |of: fn(&Published) -> i64| grouped(day.published.as_ref().map_or(0, of));
        let (exported, held) = (rows(|found| found.rows), rows(|found| found.rows_held_back.unwrap_or_default()));
        return format!("{about}  complete{revision}, {exported} rows; {held} more are held back by the rules");
    };
    let late = grouped(day.late_rows().unwrap_or_default().abs());
    let why = match reason {
        NotOut::NeverExported => "it was never exported".to_owned(),
        NotOut::InProgress => "it is being exported".to_owned(),
        NotOut::Failed => "its latest revision failed; see `data-exporter coverage`".to_owned(),
        NotOut::ManifestMissing => "its manifest is not in the bucket".to_owned(),
        NotOut::ManifestReplaced => "what is where its manifest was is not that of its export".to_owned(),
        NotOut::FileMissing => "a file that its manifest lists is not in the bucket".to_owned(),
        NotOut::FileChanged => "a file has another size than its manifest says".to_owned(),
        NotOut::LateRows => format!("it is out, and {late} rows came late; export the day again"),
        NotOut::RowsGone => format!("it is out, and {late} rows have gone from the warehouse since"),
    };
    format!("{about}  not complete{revision}: {why} [{}]", reason.as_str())
}
