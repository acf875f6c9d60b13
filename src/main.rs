//! The `data-exporter` program: parses its command line and hands over.

use std::process::ExitCode;

use clap::Parser;
use data_exporter::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::FAILURE,
    };
    runtime.block_on(Box::pin(cli::run(cli)))
}
