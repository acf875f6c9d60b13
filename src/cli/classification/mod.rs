//! `data-exporter classification …`.

mod accept;
mod check;
mod explain;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use classification::rules::Change;
use serde_json::json;

use super::{actor, output, settings};
use crate::config::{Needs, Source};
use crate::error::{ErrorCode, Failure};
use crate::explain::Explainer;
use crate::rules::{RuleStore, read_folder};
use crate::startup;

#[derive(Debug, Subcommand)]
pub(super) enum ClassificationCommand {
    /// Replaces the rules in the metadata database by those of a folder, five CSV files and
    /// pii.toml, in one transaction.
    Apply {
        /// The folder.
        dir: PathBuf,
    },
    /// Shows what `apply` would change, and changes nothing.
    Diff {
        /// The folder.
        dir: PathBuf,
    },
    /// Shows what the rules do to a table: each column with the rule that decided it, and how many rows each rule
    /// holds back.
    Explain(explain::ExplainArgs),
    /// Lists where rules and warehouse have come apart; exit code 1 if a column of an enabled table is unclassified or
    /// has another type than was classified, or if a table could not be exported at all.
    Check,
    /// Says that columns were looked at after their type has changed: their rules go on as they are.
    Accept(accept::AcceptArgs),
}

pub(super) async fn run(source: &Source, command: &ClassificationCommand, json: bool) -> Result<ExitCode, Failure> {
    match command {
        ClassificationCommand::Apply { dir } => files(source, dir, true, json).await,
        ClassificationCommand::Diff { dir } => files(source, dir, false, json).await,
        ClassificationCommand::Explain(args) => explain::run(source, args, json).await,
        ClassificationCommand::Check => check::run(source, json).await,
        ClassificationCommand::Accept(args) => accept::run(source, args, json).await,
    }
}

async fn files(source: &Source, dir: &std::path::Path, apply: bool, json: bool) -> Result<ExitCode, Failure> {
    let settings = settings(source, Needs { database: true, ..Needs::default() })?;
    // Files that do not hold are refused before anything is asked of a database.
    let rules = read_folder(dir)?;
    let url = settings
        .database_url
        .as_ref()
        .ok_or_else(|| Failure::new(ErrorCode::SettingsInvalid, "DATABASE_URL is not set"))?;
    let (pool, _) = startup::connect_metadata(url).await?;
    let store = RuleStore::new(pool);
    let changes = if apply { store.apply(&rules, &actor()).await? } else { store.diff(&rules).await? };
    report(&changes, apply, json);
    if !json {
        rules.notes().iter().for_each(|note| output::note(&format!("note: {note}")));
    }
    Ok(ExitCode::SUCCESS)
}

fn report(changes: &[Change], applied: bool, json: bool) {
    if json {
        output::json(&json!({"applied": applied, "changes": changes}));
        return;
    }
    changes.iter().for_each(|change| output::line(&change.to_string()));
    output::line(&match (changes.len(), applied) {
        (0, _) => "nothing changes".to_owned(),
        (n, true) => format!("{n} rules changed"),
        (n, false) => format!("{n} rules would change"),
    });
}

/// The rules, and who explains them against the warehouse.
async fn with_warehouse(source: &Source) -> Result<(RuleStore, Explainer), Failure> {
    let settings = settings(source, Needs { database: true, warehouse: true, ..Needs::default() })?;
    startup::explaining(&settings).await
}
