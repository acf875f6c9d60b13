//! `data-exporter classification check`.

use std::process::ExitCode;

use super::super::output;
use super::with_warehouse;
use crate::config::Source;
use crate::error::Failure;

pub(super) async fn run(source: &Source, json: bool) -> Result<ExitCode, Failure> {
    let (_, explainer) = with_warehouse(source).await?;
    let check = explainer.check().await?;
    if json {
        output::json(&check);
    } else {
        for problem in &check.problems {
            let code = problem.code.as_ref().map_or(String::new(), |code| format!(" [{code}]"));
            output::line(&format!("problem: {}{code}", problem.message));
        }
        check.warnings.iter().for_each(|warning| output::line(&format!("warning: {warning}")));
        output::line(&format!(
            "{} enabled tables, rules revision {}: {} problems, {} warnings",
            check.tables.len(),
            check.rules_revision,
            check.problems.len(),
            check.warnings.len()
        ));
    }
    Ok(if check.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
