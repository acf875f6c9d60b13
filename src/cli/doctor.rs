//! `data-exporter doctor`.

use std::process::ExitCode;

use serde_json::json;

use super::{output, settings};
use crate::config::{Needs, Source};
use crate::error::Failure;
use crate::startup;
use crate::upkeep::doctor::{Finding, Verdict};

pub(super) async fn run(source: &Source, json: bool) -> Result<ExitCode, Failure> {
    let findings = match settings(source, Needs::default()) {
        Ok(settings) => startup::diagnose(&settings).await,
        Err(failure) => vec![Finding::of("settings", &failure)],
    };
    if json {
        let shown = findings.iter().map(
            |finding| json!({"check": finding.check, "verdict": finding.verdict.as_str(), "message": finding.message}),
        );
        output::json(&shown.collect::<Vec<_>>());
    } else {
        for finding in &findings {
            output::line(&format!("{:<4}  {:<15}  {}", finding.verdict.as_str(), finding.check, finding.message));
        }
    }
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
