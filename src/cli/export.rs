//! `data-exporter export`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::output::{self, Progress};
use super::settings;
use crate::config::{Needs, Source};
use crate::error::{ErrorCode, Failure};
use crate::jobs::{self, ExportFormat, FileChoice, JobState, JobView, NewRequest, TableState, Tenant};
use crate::pipeline::run_job;
use crate::startup::Services;
use crate::storage::ObjectKey;
use crate::{lifecycle, telemetry};

#[derive(Debug, Args)]
#[command(
    after_help = "Example, the hour before 2026-03-01T12:00:00Z:\n  data-exporter export --start 1772362800 --end 1772366400 --table way"
)]
pub(super) struct ExportArgs {
    /// First second of the range, since 1970-01-01T00:00:00Z.
    #[arg(long, value_name = "EPOCH")]
    start: i64,
    /// First second after the range; at most one day later.
    #[arg(long, value_name = "EPOCH")]
    end: i64,
    /// A table to export; may be repeated. Without it, every table that is offered on demand.
    #[arg(long = "table", value_name = "T")]
    tables: Vec<String>,
    /// The format of the files; without it, each table's own.
    #[arg(long, value_enum, value_name = "F")]
    format: Option<Format>,
    /// How the files are compressed; without it zstd for Parquet, not at all for the others.
    #[arg(long, value_enum, value_name = "C", requires = "format")]
    compression: Option<Compression>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Parquet,
    Csv,
    Jsonl,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Compression {
    Zstd,
    Snappy,
    Gzip,
    None,
}

impl ExportArgs {
    fn files(&self) -> FileChoice {
        FileChoice {
            format: self.format.map(|format| match format {
                Format::Parquet => ExportFormat::Parquet,
                Format::Csv => ExportFormat::Csv,
                Format::Jsonl => ExportFormat::Jsonl,
            }),
            compression: self.compression.map(|compression| match compression {
                Compression::Zstd => jobs::Compression::Zstd,
                Compression::Snappy => jobs::Compression::Snappy,
                Compression::Gzip => jobs::Compression::Gzip,
                Compression::None => jobs::Compression::None,
            }),
        }
    }
}

pub(super) async fn run(source: &Source, args: &ExportArgs, json: bool) -> Result<ExitCode, Failure> {
    let needs = Needs { database: true, warehouse: true, bucket: true, works: true, local: false };
    let settings = settings(source, needs)?;
    // Counted, though nobody asks for it here.
    telemetry::start_metrics().map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
    let stop = lifecycle::stop_on_signal()
        .map_err(|error| Failure::new(ErrorCode::Internal, format!("signals cannot be caught: {error}")))?;
    let services = Services::start(settings, false).await?;
    let tenant = Tenant::default();
    let request = NewRequest {
        tenant: tenant.clone(),
        requested_by: "command line".to_owned(),
        start: args.start,
        end: args.end,
        tables: (!args.tables.is_empty()).then(|| args.tables.clone()),
        files: args.files(),
        idempotency_key: None,
    };
    let ended: Result<JobState, Failure> = async {
        let job = services.requests.submit(&request).await?;
        let worker = services.worker(Some(job)).await?;
        let mut progress = Progress::new(json);
        let ended = run_job(&worker, &services.requests, &tenant, job, stop, |view| progress.job(view)).await;
        progress.end();
        let view = ended?;
        report(&services, &view, json).await?;
        Ok(view.state)
    }
    .await;
    services.stop().await;
    Ok(if ended? == JobState::Completed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn report(services: &Services, job: &JobView, json: bool) -> Result<(), Failure> {
    let mut tables = Vec::new();
    for table in &job.tables {
        let mut links = Vec::new();
        for file in &table.files {
            let key = ObjectKey::new(&file.key)?;
            links.push(services.store.presign_get(&key, services.settings.link_ttl).await?.url);
        }
        tables.push((table, links));
    }
    if json {
        let tables: serde_json::Map<_, _> = tables
            .iter()
            .map(|(table, links)| {
                let error = table.error.as_ref().map(|error| json!({"code": error.code, "message": error.message}));
                let value = json!({"status": table.state.as_str(), "rows": table.rows, "bytes": table.bytes, "links": links, "error": error});
                (table.name.to_string(), value)
            })
            .collect();
        output::json(&json!({"requestId": job.id.to_string(), "status": job.state.status(), "tables": tables}));
        return Ok(());
    }
    output::line(&format!("request {}: {}", job.id, job.state.status()));
    for (table, links) in tables {
        match (&table.error, table.state) {
            (Some(error), TableState::Skipped) => {
                output::line(&format!("  {}: skipped, {}", table.name, error.message))
            }
            (Some(error), _) => output::line(&format!("  {}: {} [{}]", table.name, error.message, error.code)),
            (None, _) => {
                output::line(&format!(
                    "  {}: {} rows, {}",
                    table.name,
                    output::grouped(table.rows),
                    output::bytes(table.bytes)
                ));
                links.iter().for_each(|link| output::line(&format!("    {link}")));
            }
        }
    }
    Ok(())
}
