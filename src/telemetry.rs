//! Logs and metrics: set up once, by whoever starts the process.
//!
//! Logs go to standard error. They hold ids, tables, counts, codes and messages of ours; never a value of a cell, a
//! credential, a link or the text of a foreign error.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::LogFormat;

/// Crates whose finer log lines hold signatures, addresses or statements with values: whatever the filter says, they
/// write nothing below `info`.
const QUIET: &[&str] = &["aws_", "h2", "hyper", "reqwest", "s3s", "sqlx"];

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
    let asked = EnvFilter::try_new(filter).map_err(|_| TelemetryError::Filter { filter: filter.to_owned() })?;
    let filter = asked.and(filter_fn(may_be_written));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => {
            lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let started = tracing_subscriber::registry().with(lines).try_init();
    started.map_err(|_| TelemetryError::Twice)
}

fn may_be_written(metadata: &Metadata<'_>) -> bool {
    let quiet = QUIET.iter().any(|name| metadata.target().starts_with(name));
    // Levels grow with their detail.
    !quiet || *metadata.level() <= Level::INFO
}

/// Starts counting; the handle renders what was counted for `/metrics`.
pub fn start_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let handle = PrometheusBuilder::new().install_recorder().map_err(|_| TelemetryError::Twice)?;
    metrics::describe_counter!("exporter_rows_read_total", "Rows read from the warehouse.");
    metrics::describe_counter!("exporter_partitions_total", "Attempts at partitions, by result.");
    metrics::describe_counter!("exporter_tables_total", "Publications of tables, by result.");
    metrics::describe_counter!("exporter_leases_reaped_total", "Leases taken back from lost workers.");
    metrics::describe_gauge!("exporter_unclassified_columns", "Columns of a table that nobody has classified.");
    metrics::describe_gauge!("exporter_missing_columns", "Classified columns of a table that the warehouse lacks.");
    metrics::describe_gauge!("exporter_retyped_columns", "Columns of a table with another type than was classified.");
    metrics::describe_counter!("exporter_notifications_total", "Attempts to send notifications, by result.");
    metrics::describe_gauge!("exporter_notifications_waiting", "Notifications that are not sent, pending or dead.");
    Ok(handle)
}
