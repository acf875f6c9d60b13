//! `data-exporter classification …`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use classification::rules::Change;
use serde_json::json;

use super::{actor, output, settings};
use crate::config::{Needs, Source};
use crate::error::{ErrorCode, Failure};
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
}

pub(super) async fn run(source: &Source, command: &ClassificationCommand, json: bool) -> Result<ExitCode, Failure> {
    let settings = settings(source, Needs { database: true, ..Needs::default() })?;
    let (ClassificationCommand::Apply { dir } | ClassificationCommand::Diff { dir }) = command;
    // Files that do not hold are refused before anything is asked of a database.
    let rules = read_folder(dir)?;
    let url = settings
        .database_url
        .as_ref()
        .ok_or_else(|| Failure::new(ErrorCode::SettingsInvalid, "DATABASE_URL is not set"))?;
    let (pool, _) = startup::connect_metadata(url).await?;
    let store = RuleStore::new(pool);
    let (changes, applied) = match command {
        ClassificationCommand::Apply { .. } => (store.apply(&rules, &actor()).await?, true),
        ClassificationCommand::Diff { .. } => (store.diff(&rules).await?, false),
    };
    report(&changes, applied, json);
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
