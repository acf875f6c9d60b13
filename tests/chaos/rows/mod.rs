//! The experiments, one a file, each with the bars of what is promised.

pub(crate) mod cancels;
pub(crate) mod cuts;
pub(crate) mod freezes;
pub(crate) mod kills;
pub(crate) mod notifications;
pub(crate) mod poison;
pub(crate) mod restarts;
pub(crate) mod schedulers;
pub(crate) mod stops;
pub(crate) mod storms;
pub(crate) mod submissions;

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::stage::{Mark, Stage};

/// Settings under which an unlucky partition is not taken for poison, nor a stormy day for a broken store.
const LENIENT: [(&str, &str); 2] = [("EXPORTER_MAX_CRASHES", "100"), ("EXPORTER_MAX_ATTEMPTS", "100")];
/// Bytes a second of the store that make a partition last about a second.
const BRISK: u64 = 400_000;

/// Leases that were taken from this worker because it was late: of what kind, what, at which epoch, when.
async fn reaped(stage: &Stage, worker: Uuid, mark: Mark) -> Vec<(String, String, i64, DateTime<Utc>)> {
    stage
        .all(&format!(
            "SELECT kind, item, epoch_before, at FROM chaos.moves
             WHERE worker_before = '{worker}' AND crashes_after > crashes_before AND id > {} ORDER BY id",
            mark.note
        ))
        .await
}

/// A lease as workers name it in what they write.
fn claim(kind: &str, item: &str, epoch: i64) -> String {
    let name = match (kind, item.split_once('/')) {
        ("partitions", _) => format!("partition {item}"),
        ("tables", Some((job, table))) => format!("publication of {table} in {job}"),
        _ => format!("plan of {item}"),
    };
    format!("claim={name} (epoch {epoch})")
}

/// From one moment to a later one.
fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
    (to - from).to_std().unwrap_or_default()
}
