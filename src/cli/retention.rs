//! `data-exporter retention`: files that are old enough to go, and requests that are old enough to be archived.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{output, settings};
use crate::config::{Needs, Source};
use crate::error::{ErrorCode, Failure};
use crate::jobs::ToRetain;
use crate::lifecycle;
use crate::pipeline::Retained;
use crate::startup::Services;

#[derive(Debug, Args)]
pub(super) struct RetentionArgs {
    /// List what would go, and leave it alone.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(source: &Source, args: &RetentionArgs, json: bool) -> Result<ExitCode, Failure> {
    let settings = settings(source, Needs { database: true, bucket: true, ..Needs::default() })?;
    let stop = lifecycle::stop_on_signal()
        .map_err(|error| Failure::new(ErrorCode::Internal, format!("signals cannot be caught: {error}")))?;
    let services = Services::start(settings, false).await?;
    let code = if args.dry_run { plan(&services, json).await } else { work(&services, &stop, json).await };
    services.stop().await;
    code
}

async fn plan(services: &Services, json: bool) -> Result<ExitCode, Failure> {
    let (found, old) = services.to_retain().await?;
    list(&found, json);
    if old > 0 {
        // The list is the result; machines read nothing else there.
        output::note(&format!("{} requests are old enough to be archived", output::grouped(old)));
    }
    Ok(ExitCode::SUCCESS)
}

async fn work(services: &Services, stop: &CancellationToken, json: bool) -> Result<ExitCode, Failure> {
    let (done, archived) = services.retain(stop).await?;
    if json {
        let Retained { jobs, objects, failed } = done;
        output::json(&json!({"jobs": jobs, "objects": objects, "failed": failed, "archived": archived}));
    } else {
        output::line(&format!(
            "{} requests expired, {} objects deleted, {archived} requests archived",
            done.jobs, done.objects
        ));
    }
    Ok(if done.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(found: &[ToRetain], json: bool) {
    if json {
        let found = found.iter().map(|job| {
            json!({
                "requestId": job.id.to_string(), "tenant": job.tenant, "state": job.state,
                "completedAt": job.completed_at, "tables": job.tables, "files": job.files, "bytes": job.bytes,
                "linksUntil": job.linked_until,
            })
        });
        output::json(&found.collect::<Vec<_>>());
        return;
    }
    if found.is_empty() {
        output::note("nothing is old enough");
    }
    for job in found {
        let until =
            job.linked_until.map(|until| format!(", once its links end at {}", until.format("%Y-%m-%dT%H:%M:%SZ")));
        output::line(&format!(
            "{}  {}  {}  {} files, {}  {}{}",
            job.id,
            job.tenant,
            job.completed_at.format("%Y-%m-%dT%H:%M:%SZ"),
            job.files,
            output::bytes(job.bytes),
            job.tables.join(","),
            until.unwrap_or_default()
        ));
    }
}
