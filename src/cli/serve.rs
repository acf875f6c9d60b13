//! `data-exporter serve`.

use std::process::ExitCode;

use clap::Args;

use super::{output, settings};
use crate::config::{Needs, Source};
use crate::error::{ErrorCode, Failure};
use crate::startup::{self, Services};
use crate::{lifecycle, telemetry};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Stand in for what is not set: a private PostgreSQL for DATABASE_URL and EXPORTER_WAREHOUSE_URL, an S3 server in
    /// this process for EXPORTER_BUCKET. Their state is kept in EXPORTER_DATA_DIR.
    #[arg(long)]
    local: bool,
}

pub(super) async fn run(source: &Source, args: &ServeArgs) -> Result<ExitCode, Failure> {
    let needs = Needs { database: true, warehouse: true, bucket: true, works: false, local: args.local };
    let settings = settings(source, needs)?;
    let metrics = telemetry::start_metrics().map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
    let stop = lifecycle::stop_on_signal()
        .map_err(|error| Failure::new(ErrorCode::Internal, format!("signals cannot be caught: {error}")))?;
    let listener = if settings.roles.api { Some(startup::listen(&settings).await?) } else { None };
    let services = tokio::select! {
        services = Services::start(settings, args.local) => services?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    if let Some(address) = listener.as_ref().and_then(|listener| listener.local_addr().ok()) {
        tracing::info!(%address, local = args.local, "answering on http://{address}/graphql");
        if args.local {
            output::note(&format!("GraphiQL: http://{address}/graphql"));
        }
    }
    let ran = services.run(listener, metrics, stop).await;
    services.stop().await;
    ran.map(|()| ExitCode::SUCCESS)
}
