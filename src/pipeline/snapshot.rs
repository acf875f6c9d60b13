//! One moment of the warehouse for all partitions of a table, across worker processes.
//!
//! The worker that reads a table's first partition holds a snapshot for the others, on a connection of its own, while
//! any partition is open and for a bounded time. Each scan says whether it read under it, and each commit records it,
//! so the manifest knows. Whatever goes wrong with a snapshot, the export goes on without: rows are then bounded by the
//! conditions of their slices alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

use super::plan::TablePlan;
use crate::error::Failure;
use crate::jobs::{PartitionTask, Queue, QueueError, SharedSnapshot};
use crate::warehouse::{HeldSnapshot, Warehouse};

/// How long a partition waits for a snapshot that another worker is about to have.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

/// The snapshots of one worker process.
#[derive(Debug)]
pub(super) struct Snapshots {
    queue: Queue,
    warehouse: Arc<dyn Warehouse>,
    /// As many as partitions are read at once.
    places: Arc<Semaphore>,
    holders: TaskTracker,
    stop: CancellationToken,
}

impl Snapshots {
    /// At most `most` are held at once.
    pub(super) fn new(queue: Queue, warehouse: Arc<dyn Warehouse>, most: usize) -> Self {
        let places = Arc::new(Semaphore::new(most.max(1)));
        Self { queue, warehouse, places, holders: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// The snapshot to read a partition under: one that is held for its table, or a new one of this process. `None`
    /// where there is no use in one, and where there cannot be one.
    pub(super) async fn of(&self, task: &PartitionTask) -> Option<SharedSnapshot> {
        // One partition is one transaction, and so one moment.
        if task.partitions < 2 || self.queue.settings().snapshot_max.is_zero() {
            return None;
        }
        match self.find_or_begin(task).await {
            Ok(found) => found,
            Err(error) => {
                let code = Failure::from(error).code;
                tracing::warn!(job = %task.job, table = %task.table, %code, "reading without a snapshot");
                None
            }
        }
    }

    async fn find_or_begin(&self, task: &PartitionTask) -> Result<Option<SharedSnapshot>, QueueError> {
        let until = Instant::now() + PATIENCE;
        let mut tried = false;
        while Instant::now() < until {
            match self.queue.find_snapshot(task.job, &task.table).await? {
                Some(found) if found.token.is_some() => return Ok(Some(found)),
                // Its holder is asking for it.
                Some(_) => sleep(LOOK).await,
                None if tried => return Ok(None),
                None => {
                    tried = true;
                    let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return Ok(None) };
                    if let Some(id) = self.queue.begin_snapshot(task.job, &task.table).await? {
                        self.hold(id, task, place);
                    }
                }
            }
        }
        Ok(None)
    }

    /// A task of its own: what it holds is for others too, and outlives the partition that it was begun for.
    fn hold(&self, id: Uuid, task: &PartitionTask, place: OwnedSemaphorePermit) {
        let (queue, warehouse, stop) = (self.queue.clone(), Arc::clone(&self.warehouse), self.stop.clone());
        let (job, table) = (task.job, task.table.clone());
        // Of all partitions: a standby that is far enough for the first may not be for the last.
        let until = TablePlan::read(task.plan.clone()).map(|plan| plan.window.end);
        let holding = async move {
            let held = match until {
                Ok(until) => warehouse.hold_snapshot(&format!("data-exporter {job} snapshot"), until).await,
                Err(_) => Ok(None),
            };
            match held {
                Ok(Some(held)) => {
                    tracing::info!(%job, %table, "holding a snapshot");
                    let held = keep(&queue, id, held, &stop).await;
                    held.release().await;
                    tracing::info!(%job, %table, "released the snapshot");
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%job, %table, code = %error.code(), message = %error, "no snapshot"),
            }
            // Its lease ends it, where this does not.
            let _ = queue.end_snapshot(id).await;
            drop(place);
        };
        self.holders.spawn(holding.in_current_span());
    }

    /// Releases what is held.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.holders.close();
        self.holders.wait().await;
    }
}

/// Holds a snapshot while it is needed and may be held, and gives it back.
async fn keep(
    queue: &Queue,
    id: Uuid,
    mut held: Box<dyn HeldSnapshot>,
    stop: &CancellationToken,
) -> Box<dyn HeldSnapshot> {
    let settings = *queue.settings();
    let mut renewed = Instant::now();
    if !matches!(queue.tell_snapshot(id, held.token()).await, Ok(true)) {
        return held;
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return held,
            () = sleep(settings.heartbeat) => {}
        }
        if !held.is_held().await {
            tracing::warn!("the warehouse ended a snapshot; what is left is read without");
            return held;
        }
        let asked = Instant::now();
        match timeout(settings.heartbeat, queue.keep_snapshot(id)).await {
            Ok(Ok(true)) => renewed = asked,
            Ok(Ok(false)) => return held,
            // Its connection is released before somebody else can take the lease for lost.
            _ if renewed.elapsed() + 2 * settings.heartbeat >= settings.lease => return held,
            _ => {}
        }
    }
}
