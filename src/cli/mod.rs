//! The command line: parses, hands over, and says how it went. Exit code 0 done, 1 the work failed, 2 wrong usage or
//! settings. Results go to standard output, everything else to standard error.

mod classification;
mod coverage;
mod demo;
mod doctor;
mod export;
mod exported;
mod key;
mod output;
mod retention;
mod run;
mod serve;
mod stalled;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Needs, Settings, Source};
use crate::error::{ErrorCode, Failure};
use crate::{startup, telemetry};

/// Takes tables out of an analytics warehouse and hands them over as Parquet behind links that expire.
#[derive(Debug, Parser)]
#[command(
    name = "data-exporter",
    version,
    after_help = "Try `data-exporter demo` first: it needs no settings and shows the whole way of an export.\n\
                  Settings come from the environment and from --config; README lists them."
)]
pub struct Cli {
    /// A TOML file with settings, under the same keys as in the environment, which wins.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write results as JSON, for machines.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the main job on invented data: a warehouse, a request, progress, links, files.
    Demo(demo::DemoArgs),
    /// Runs the service: endpoint and workers, as EXPORTER_ROLES says.
    Serve(serve::ServeArgs),
    /// Brings the metadata database up to date. Writes no rules.
    Migrate,
    /// Exports a time range from the shell and works it in this process.
    Export(export::ExportArgs),
    /// Exports days of the schedule now, and works them in this process: what is missing, what failed, or all again.
    Run(run::RunArgs),
    /// Applies the rules of what may leave, and shows what would change.
    #[command(subcommand)]
    Classification(classification::ClassificationCommand),
    /// Makes, lists and revokes the keys of the API.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Shows requests that are stuck, and clears them.
    #[command(subcommand)]
    Stalled(stalled::StalledCommand),
    /// Deletes the files of requests on demand that are older than EXPORTER_RETENTION_DAYS, and archives requests that ended
    /// before EXPORTER_HISTORY_DAYS, as workers do by themselves.
    Retention(retention::RetentionArgs),
    /// Shows which days of the schedule are exported, as a calendar; exit code 1 if one that is over is not.
    Coverage(coverage::CoverageArgs),
    /// Says whether a table of a day is safely out: published, still in the bucket, and without late rows; exit code 1 if not.
    IsExported(exported::ExportedArgs),
    /// Checks an export against its manifest: files, counts, schema, times, policy, personal data. Changes nothing.
    Verify(verify::VerifyArgs),
    /// Checks every part of an installation and says what to do.
    Doctor,
    /// Prints the GraphQL schema.
    Schema,
}

/// Runs the command line and returns the process's exit code.
pub async fn run(cli: Cli) -> ExitCode {
    let json = cli.json;
    // Each command waits for much; together they are more than a stack should hold.
    match Box::pin(dispatch(cli)).await {
        Ok(code) => code,
        Err(failure) => {
            output::failure(&failure, json);
            match failure.code {
                ErrorCode::SettingsInvalid
                | ErrorCode::BadRequest
                | ErrorCode::RulesInvalid
                | ErrorCode::RangeInvalid
                | ErrorCode::RangeTooLong
                | ErrorCode::RangeInFuture
                | ErrorCode::TableNotOffered
                | ErrorCode::TableWithoutTime => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let source = Source::environment(cli.config.as_deref())
        .map_err(|error| Failure::new(ErrorCode::SettingsInvalid, error.to_string()))?;
    match cli.command {
        Command::Demo(args) => Box::pin(demo::run(&source, &args, cli.json)).await,
        Command::Serve(args) => Box::pin(serve::run(&source, &args)).await,
        Command::Migrate => migrate(&source, cli.json).await,
        Command::Export(args) => Box::pin(export::run(&source, &args, cli.json)).await,
        Command::Run(args) => Box::pin(run::run(&source, &args, cli.json)).await,
        Command::Classification(command) => classification::run(&source, &command, cli.json).await,
        Command::Key(command) => key::run(&source, &command, cli.json).await,
        Command::Stalled(command) => stalled::run(&source, &command, cli.json).await,
        Command::Retention(args) => Box::pin(retention::run(&source, &args, cli.json)).await,
        Command::Coverage(args) => coverage::run(&source, &args, cli.json).await,
        Command::IsExported(args) => exported::run(&source, &args, cli.json).await,
        Command::Verify(args) => verify::run(&args, cli.json).await,
        Command::Doctor => doctor::run(&source, cli.json).await,
        Command::Schema => {
            output::line(crate::api::sdl().trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Reads the settings that a command needs, and starts its logs.
fn settings(source: &Source, needs: Needs) -> Result<Settings, Failure> {
    let settings = Settings::read(source, needs)?;
    telemetry::start_logs(&settings.log, settings.log_format)
        .map_err(|error| Failure::new(ErrorCode::SettingsInvalid, error.to_string()))?;
    Ok(settings)
}

/// Who does this, for the audit: the account that runs the command.
fn actor() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "command line".to_owned())
}

async fn migrate(source: &Source, json: bool) -> Result<ExitCode, Failure> {
    let settings = settings(source, Needs { database: true, ..Needs::default() })?;
    let url = settings
        .database_url
        .as_ref()
        .ok_or_else(|| Failure::new(ErrorCode::SettingsInvalid, "DATABASE_URL is not set"))?;
    let (pool, _) = startup::connect_metadata(url).await?;
    let steps = startup::migrate(&pool).await?;
    if json {
        output::json(&serde_json::json!({"applied": steps}));
    } else {
        output::line(&match steps {
            0 => "the metadata database is up to date".to_owned(),
            1 => "1 migration applied; the metadata database is up to date".to_owned(),
            n => format!("{n} migrations applied; the metadata database is up to date"),
        });
    }
    Ok(ExitCode::SUCCESS)
}
