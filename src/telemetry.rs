//! Logs and metrics: set up once, by whoever starts the process.
//!
//! Logs go to standard error. They hold ids, tables, counts, codes and messages of ours; never a value of a cell, a
//! credential, a link or the text of a foreign error.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Crates whose finer log lines hold signatures, addresses or statements with values: never below these levels,
/// whatever the filter says.
const QUIET: &[&str] = &[
    "aws_config=info",
    "aws_credential_types=info",
    "aws_runtime=info",
    "aws_sdk_s3=info",
    "aws_sigv4=info",
    "aws_smithy_http_client=info",
    "aws_smithy_runtime=info",
    "aws_smithy_runtime_api=info",
    "h2=info",
    "hyper=info",
    "hyper_util=info",
    "reqwest=info",
    "s3s=info",
    "sqlx=info",
];

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("EXPORTER_LOG '{filter}' is not a log filter; write a level such as info, or warn,data_exporter=debug")]
    Filter {
        /// As set.
        filter: String,
    },
    /// Somebody else in this process did it before.
    #[error("logs or metrics were set up before in this process")]
    Twice,
}

/// Starts writing logs.
pub fn start_logs(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let mut filter = EnvFilter::try_new(filter).map_err(|_| TelemetryError::Filter { filter: filter.to_owned() })?;
    for directive in QUIET {
        filter = filter
            .add_directive(directive.parse().map_err(|_| TelemetryError::Filter { filter: (*directive).to_owned() })?);
    }
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|_| TelemetryError::Twice)
}

/// Starts counting; the handle renders what was counted for `/metrics`.
pub fn start_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let handle = PrometheusBuilder::new().install_recorder().map_err(|_| TelemetryError::Twice)?;
    metrics::describe_counter!("exporter_rows_read_total", "Rows read from the warehouse.");
    metrics::describe_counter!("exporter_partitions_total", "Attempts at partitions, by result.");
    metrics::describe_counter!("exporter_tables_total", "Publications of tables, by result.");
    metrics::describe_counter!("exporter_leases_reaped_total", "Leases taken back from lost workers.");
    Ok(handle)
}
