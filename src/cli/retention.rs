//! `data-exporter retention`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{output, settings};
use crate::config::{Needs, Source};
use crate::error::{ErrorCode, Failure};
use crate::jobs::ToRetain;
use crate::lifecycle;
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
    let code = if args.dry_run {
        services.to_retain().await.map(|found| {
            list(&found, json);
            ExitCode::SUCCESS
        })
    } else {
        services.retain(&stop).await.map(|done| {
            if json {
                output::json(&json!({"jobs": done.jobs, "objects": done.objects, "failed": done.failed}));
            } else {
                output::line(&format!("{} requests expired, {} objects deleted", done.jobs, done.objects));
            }
            if done.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        })
    };
    services.stop().await;
    code
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
