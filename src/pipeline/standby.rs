//! What reading from a standby asks of a worker. One that is behind is waited for, between partitions only: a scan that
//! runs goes on, since it holds up replay itself. One that ended a scan because its replay needed what was being read is
//! asked again for less at a time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::Pipeline;
use super::slices::{self, MOST_PARTITIONS};
use crate::error::{ErrorCode, Failure};
use crate::jobs::{Claim, JobId, PartitionTask, QueueError};
use crate::warehouse::{ScanSpec, TimeRange, TimeSlice, Warehouse};

/// Conflicts of one partition, and of what it was cut from, after which a further one counts as an attempt.
const MOST_CONFLICTS: i32 = 10;
/// No pause after a conflict is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether the work is to wait for a standby.
pub(super) fn waits(failure: &Failure) -> bool {
    failure.code == ErrorCode::ReplicaBehind
}

/// Whether planning is to wait for one. Its questions are short: what was in their way has soon passed.
pub(super) fn plan_waits(failure: &Failure) -> bool {
    waits(failure) || failure.code == ErrorCode::RecoveryConflict
}

/// Whether a standby ended the scan, and that does not count yet.
pub(super) fn conflicts(failure: &Failure, task: &PartitionTask) -> bool {
    failure.code == ErrorCode::RecoveryConflict && task.conflicts < MOST_CONFLICTS
}

/// Gives the work back and lets its job wait.
pub(super) async fn pause(pipeline: &Pipeline, job: JobId, claim: &Claim, why: &Failure) -> Result<(), QueueError> {
    tracing::info!(%job, code = %why.code, message = %why.message, "waiting");
    // Workers that wait for one standby do not all ask it at once.
    let pause = pipeline.settings.standby_pause.mul_f64(rand::random_range(0.75..1.25));
    pipeline.queue.pause(claim, pause, why).await
}

/// Puts the partition back in smaller slices of time, or as it is where that would not help.
pub(super) async fn cut(pipeline: &Pipeline, task: &PartitionTask, why: &Failure) -> Result<(), QueueError> {
    let pieces = pieces(pipeline.warehouse.as_ref(), task).await.unwrap_or_else(|| vec![task.scan.clone()]);
    tracing::warn!(job = %task.job, table = %task.table, partition = task.ordinal, conflicts = task.conflicts + 1, pieces = pieces.len(), message = %why.message, "the standby ended the scan");
    let doublings = u32::try_from(task.conflicts).unwrap_or(0).min(6);
    let pause = (pipeline.settings.retry_pause * (1 << doublings)).min(LONGEST_PAUSE);
    pipeline.queue.cut_partition(task, pieces, pause.mul_f64(rand::random_range(0.75..1.25)), why).await
}

/// The partition's scan in smaller ones. None where each of them would read as long as the whole: without an index on
/// time, and where there is nothing left to cut.
async fn pieces(warehouse: &dyn Warehouse, task: &PartitionTask) -> Option<Vec<Value>> {
    let scan: ScanSpec = serde_json::from_value(task.scan.clone()).ok()?;
    let slice = scan.slice.clone()?;
    let edges = edges(slice.start, slice.end)?;
    let further = i32::try_from(edges.len()).ok()? - 2;
    if usize::try_from(task.partitions + further).is_ok_and(|all| all > MOST_PARTITIONS) {
        return None;
    }
    let ranges: Vec<TimeRange> = edges.windows(2).map(|edge| (edge[0], edge[1])).collect();
    if slices::share(&warehouse.estimate_ranges(&scan, &ranges).await.ok()?) {
        return None;
    }
    edges
        .windows(2)
        .map(|edge| {
            let slice = TimeSlice { start: edge[0], end: edge[1], ..slice.clone() };
            serde_json::to_value(ScanSpec { slice: Some(slice), ..scan.clone() }).ok()
        })
        .collect()
}

/// The edges of four or two slices that together are this one, at whole seconds from its start.
fn edges(start: DateTime<Utc>, end: DateTime<Utc>) -> Option<Vec<DateTime<Utc>>> {
    let seconds = (end - start).num_seconds();
    let count = match seconds {
        4.. => 4,
        2.. => 2,
        _ => return None,
    };
    let mut edges: Vec<_> = (0..count).map(|i| start + TimeDelta::seconds(seconds * i / count)).collect();
    edges.push(end);
    Some(edges)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use proptest::prelude::*;

    use super::slices::tests::{Planner, indexed, scan};
    use super::*;
    use crate::warehouse::Estimate;

    #[tokio::test]
    async fn a_partition_is_cut_where_its_pieces_are_less_and_files_are_not_too_many() {
        let at = |second| Utc.timestamp_opt(second, 0).unwrap();
        let task = |seconds: i64, partitions| PartitionTask {
            id: 1,
            job: JobId::new(),
            table: "s.t".parse().unwrap(),
            ordinal: 0,
            scan: serde_json::to_value(scan(at(1_000), at(1_000 + seconds))).unwrap(),
            plan: Value::Null,
            partitions,
            conflicts: 0,
            epoch: 1,
            attempt: 1,
        };
        let ends = |found: Option<Vec<Value>>| {
            let scans = found?.into_iter().map(|scan| serde_json::from_value::<ScanSpec>(scan).unwrap().slice.unwrap());
            Some(
                scans.map(|slice| (slice.start.timestamp() - 1_000, slice.end.timestamp() - 1_000)).collect::<Vec<_>>(),
            )
        };
        let index = Planner::new(|a, b| indexed((b - a) as f64));
        let quarters = vec![(0, 900), (900, 1_800), (1_800, 2_700), (2_700, 3_600)];
        assert_eq!(ends(pieces(&index, &task(3_600, 1)).await), Some(quarters.clone()));
        // Three files more, and no more than that.
        assert_eq!(ends(pieces(&index, &task(3_600, MOST_PARTITIONS as i32 - 3)).await), Some(quarters));
        assert_eq!(ends(pieces(&index, &task(3_600, MOST_PARTITIONS as i32 - 2)).await), None);
        assert_eq!(ends(pieces(&index, &task(1, 1)).await), None, "nothing is left to cut");
        // Without an index each piece is the whole table again, and meets the same conflict.
        let none = Planner::new(|a, b| Estimate { read_whole: ["t".to_owned()].into(), ..indexed((b - a) as f64) });
        assert_eq!(ends(pieces(&none, &task(3_600, 1)).await), None);
    }

    proptest! {
        #[test]
        fn pieces_tile_the_slice(start in 0_i64..2_000_000_000_000, length in 1_i64..90_000_000) {
            let (start, end) = (Utc.timestamp_millis_opt(start).unwrap(), Utc.timestamp_millis_opt(start + length).unwrap());
            match edges(start, end) {
                None => prop_assert!(length < 2_000),
                Some(edges) => {
                    prop_assert!(edges.len() == 5 || (edges.len() == 3 && length < 4_000));
                    prop_assert_eq!((edges[0], edges[edges.len() - 1]), (start, end));
                    prop_assert!(edges.windows(2).all(|pair| pair[0] < pair[1]));
                }
            }
        }
    }
}
