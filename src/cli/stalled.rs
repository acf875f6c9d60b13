//! `data-exporter stalled …`: requests that are stuck.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;

use super::{actor, output, settings};
use crate::config::{Needs, Source};
use crate::error::{ErrorCode, Failure};
use crate::identity::Actor;
use crate::jobs::{JobId, StalledJob};
use crate::startup;
use crate::upkeep::StuckRequests;

#[derive(Debug, Subcommand)]
pub(super) enum StalledCommand {
    /// Lists requests of every tenant of which nothing has moved for EXPORTER_STALL_SECONDS.
    List,
    /// Ends what is left of a request that is stuck.
    Clear {
        /// The request's id, from `stalled list`.
        id: Uuid,
        /// Start the same range again.
        #[arg(long)]
        resubmit: bool,
        /// Clear it even if it goes on.
        #[arg(long)]
        force: bool,
    },
}

pub(super) async fn run(source: &Source, command: &StalledCommand, json: bool) -> Result<ExitCode, Failure> {
    let settings = settings(source, Needs { database: true, ..Needs::default() })?;
    let stuck = StuckRequests::new(startup::metadata(&settings).await?, settings.stall);
    match command {
        StalledCommand::List => list(&stuck.list(None).await?, json),
        StalledCommand::Clear { id, resubmit, force } => {
            let by = Actor::command_line(actor());
            let Some(cleared) = stuck.clear(None, JobId(*id), *resubmit, *force, &by).await? else {
                let why =
                    format!("no request has the id {id}; `data-exporter stalled list` shows those that are stuck");
                return Err(Failure::new(ErrorCode::NotFound, why));
            };
            let new = cleared.resubmitted_as.map(|job| job.to_string());
            if json {
                output::json(&json!({
                    "requestId": cleared.job.to_string(), "state": cleared.state.as_str(),
                    "resubmittedAs": new, "alreadyCleared": cleared.already,
                }));
            } else {
                let before = if cleared.already { "had been cleared before" } else { "is cleared" };
                output::line(&format!("request {id} {before}: {}", cleared.state.as_str()));
                if let Some(new) = new {
                    output::line(&format!("started again as {new}"));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(jobs: &[StalledJob], json: bool) {
    if json {
        let jobs = jobs.iter().map(|job| {
            json!({
                "requestId": job.id.to_string(), "tenant": job.tenant, "state": job.state,
                "requestedBy": job.requested_by, "since": job.since, "lastHeartbeat": job.last_heartbeat,
                "worker": job.worker.map(|worker| worker.to_string()), "tables": job.tables,
                "running": job.running, "waiting": job.waiting, "attempts": job.attempts, "crashes": job.crashes,
                "reaper": job.reaper(), "lastError": job.error_code, "lastErrorMessage": job.error_message,
            })
        });
        output::json(&jobs.collect::<Vec<_>>());
        return;
    }
    if jobs.is_empty() {
        output::note("nothing is stalled");
    }
    let at = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    for job in jobs {
        output::line(&format!(
            "{}  {}  {}  nothing moved since {} ({} s)",
            job.id,
            job.tenant,
            job.state,
            at(job.since),
            (job.read_at - job.since).num_seconds()
        ));
        let worker = job.worker.map_or_else(|| "none yet".to_owned(), |worker| worker.to_string());
        let heard = job.last_heartbeat.map_or_else(|| "never".to_owned(), at);
        output::line(&format!(
            "  open: {}; {} held, {} waiting; worker {worker}, last heard of: {heard}",
            job.tables.join(", "),
            job.running,
            job.waiting
        ));
        output::line(&format!("  reaper: {}; attempts {}, lost workers {}", job.reaper(), job.attempts, job.crashes));
        if let Some(code) = &job.error_code {
            output::line(&format!("  last error: {} [{code}]", job.error_message.as_deref().unwrap_or_default()));
        }
    }
}
