//! `data-exporter classification accept`.

use std::process::ExitCode;

use clap::Args;
use classification::TableName;
use serde_json::json;

use super::super::{actor, output};
use super::with_warehouse;
use crate::config::Source;
use crate::error::{ErrorCode, Failure};
use crate::identity::Actor;

#[derive(Debug, Args)]
pub(in crate::cli) struct AcceptArgs {
    /// The table, as export_tables names it.
    table: String,
    /// Its columns that were looked at.
    #[arg(required = true)]
    columns: Vec<String>,
}

pub(super) async fn run(source: &Source, args: &AcceptArgs, json: bool) -> Result<ExitCode, Failure> {
    let table: TableName =
        args.table.parse().map_err(|error| Failure::new(ErrorCode::TableNotOffered, format!("{error}")))?;
    let (rules, explainer) = with_warehouse(source).await?;
    let catalog = explainer.columns(&table).await?;
    let by = Actor::command_line(actor());
    let accepted = rules.accept(&table, &args.columns, &catalog, &by).await?;
    if json {
        output::json(&json!({"table": table, "accepted": accepted}));
        return Ok(ExitCode::SUCCESS);
    }
    for column in &accepted {
        output::line(&format!("{table} {}: {} as {}", column.column, column.classification, column.sql_type));
    }
    Ok(ExitCode::SUCCESS)
}
