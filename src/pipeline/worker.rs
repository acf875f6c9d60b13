//! The worker: claims from the queue and walks the stages, until it is told to stop.
//!
//! Each kind of work has loops of its own, so that planning never waits for a long partition and a finished table is
//! published while others are still read. Told to stop, a worker gives its work back at once; losing a lease, it
//! leaves without a word.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::extract::extract;
use super::plan::plan;
use super::publish::publish;
use super::{Pipeline, Stopped};
use crate::error::Failure;
use crate::jobs::{Claim, Heartbeat, JobId, JobView, Lease, Leftover, QueueError, Requests, Tenant};
use crate::storage::{ObjectKey, UploadId};

/// How long an idle loop waits before it looks again.
const IDLE: Duration = Duration::from_millis(300);
/// How long it waits after the database failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Works the queue in this process.
#[derive(Debug, Clone)]
pub struct Worker {
    pipeline: Arc<Pipeline>,
    heartbeat: Arc<Heartbeat>,
}

impl Worker {
    /// A worker over these stages, its leases kept by this heartbeat.
    pub fn new(pipeline: Pipeline, heartbeat: Heartbeat) -> Self {
        Self { pipeline: Arc::new(pipeline), heartbeat: Arc::new(heartbeat) }
    }

    /// Works until `stop` is cancelled and everything in hand has been given back.
    pub async fn run(&self, stop: CancellationToken) {
        tracing::info!(worker = %self.pipeline.queue.worker(), partitions = self.pipeline.settings.concurrent_partitions, "worker started");
        let mut loops = JoinSet::new();
        for _ in 0..self.pipeline.settings.concurrent_partitions.max(1) {
            let (worker, stop) = (self.clone(), stop.clone());
            loops.spawn(async move { repeat(&stop, || worker.extract_one(&stop)).await });
        }
        let (worker, planning) = (self.clone(), stop.clone());
        loops.spawn(async move { repeat(&planning, || worker.plan_one(&planning)).await });
        let (worker, publishing) = (self.clone(), stop.clone());
        loops.spawn(async move { repeat(&publishing, || worker.publish_one(&publishing)).await });
        let (worker, sweeping) = (self.clone(), stop.clone());
        loops.spawn(async move { worker.sweep_for_ever(&sweeping).await });
        while let Some(ended) = loops.join_next().await {
            if ended.is_err() {
                tracing::error!("a loop of the worker ended unexpectedly; the process stops working");
                stop.cancel();
            }
        }
        tracing::info!("worker stopped");
    }

    async fn plan_one(&self, stop: &CancellationToken) -> Result<bool, QueueError> {
        let asked = Instant::now();
        let queue = &self.pipeline.queue;
        let Some(task) = queue.claim_plan().await? else { return Ok(false) };
        let claim = Claim::Plan(task.job, task.epoch);
        let lease = self.heartbeat.hold(claim.clone(), asked);
        tracing::info!(job = %task.job, attempt = task.attempt, "planning");
        match under(&lease, stop, async { Ok(plan(&self.pipeline, &task).await?) }).await {
            Ok((revision, tables)) => {
                let planned = tables.len();
                queue.finish_plan(&task, revision, tables).await.or_else(unless_lost)?;
                tracing::info!(job = %task.job, tables = planned, "planned");
            }
            Err(Stopped::Failed(failure)) => {
                tracing::warn!(job = %task.job, attempt = task.attempt, code = %failure.code, message = %failure.message, "planning failed");
                let retry = self.pipeline.settings.retry(&failure, task.attempt);
                queue.fail_plan(&task, &failure, retry).await.or_else(unless_lost)?;
            }
            Err(Stopped::Released) => queue.release(&claim).await.or_else(unless_lost)?,
            Err(Stopped::Lost) => {}
        }
        Ok(true)
    }

    async fn extract_one(&self, stop: &CancellationToken) -> Result<bool, QueueError> {
        let asked = Instant::now();
        let queue = &self.pipeline.queue;
        let Some(task) = queue.claim_partition().await? else { return Ok(false) };
        let claim = Claim::Partition(task.id, task.epoch);
        let lease = self.heartbeat.hold(claim.clone(), asked);
        let rows = lease.rows();
        tracing::info!(job = %task.job, table = %task.table, partition = task.ordinal, attempt = task.attempt, "extracting");
        match under(&lease, stop, extract(&self.pipeline, &task, &rows)).await {
            Ok(staged) => {
                let (count, bytes) = (staged.rows, staged.bytes);
                queue.complete_partition(&task, staged).await.or_else(unless_lost)?;
                tracing::info!(job = %task.job, table = %task.table, partition = task.ordinal, rows = count, bytes, seconds = asked.elapsed().as_secs_f64(), "extracted");
                metrics::counter!("exporter_partitions_total", "result" => "completed").increment(1);
            }
            Err(Stopped::Failed(failure)) => {
                tracing::warn!(job = %task.job, table = %task.table, partition = task.ordinal, attempt = task.attempt, code = %failure.code, message = %failure.message, "extraction failed");
                metrics::counter!("exporter_partitions_total", "result" => "failed").increment(1);
                let retry = self.pipeline.settings.retry(&failure, task.attempt);
                queue.fail_partition(&task, &failure, retry).await.or_else(unless_lost)?;
            }
            Err(Stopped::Released) => queue.release(&claim).await.or_else(unless_lost)?,
            Err(Stopped::Lost) => {}
        }
        Ok(true)
    }

    async fn publish_one(&self, stop: &CancellationToken) -> Result<bool, QueueError> {
        let asked = Instant::now();
        let queue = &self.pipeline.queue;
        let Some(task) = queue.claim_table().await? else { return Ok(false) };
        let claim = Claim::Table(task.job, task.table.clone(), task.epoch);
        let lease = self.heartbeat.hold(claim.clone(), asked);
        match under(&lease, stop, publish(&self.pipeline, &task)).await {
            Ok((files, manifest_url)) => {
                let rows: i64 = files.iter().map(|file| file.rows).sum();
                tracing::info!(job = %task.job, table = %task.table, files = files.len(), rows, "published");
                queue.complete_table(&task, files, manifest_url).await.or_else(unless_lost)?;
                metrics::counter!("exporter_tables_total", "result" => "completed").increment(1);
            }
            Err(Stopped::Failed(failure)) => {
                tracing::warn!(job = %task.job, table = %task.table, attempt = task.attempt, code = %failure.code, message = %failure.message, "publication failed");
                metrics::counter!("exporter_tables_total", "result" => "failed").increment(1);
                let retry = self.pipeline.settings.retry(&failure, task.attempt);
                queue.fail_publication(&task, &failure, retry).await.or_else(unless_lost)?;
            }
            Err(Stopped::Released) => queue.release(&claim).await.or_else(unless_lost)?,
            Err(Stopped::Lost) => {}
        }
        Ok(true)
    }

    /// Takes back what lost workers held, and removes what dead attempts have left.
    async fn sweep_for_ever(&self, stop: &CancellationToken) {
        let queue = &self.pipeline.queue;
        let mut unreachable = false;
        while !stop.is_cancelled() {
            let swept = async {
                queue.reap().await?;
                let store = Arc::clone(&self.pipeline.store);
                let remove = move |left: Leftover| -> BoxFuture<'static, bool> {
                    let store = Arc::clone(&store);
                    Box::pin(async move {
                        let Ok(key) = ObjectKey::new(left.staging_key) else { return true };
                        if let Some(id) = left.upload_id
                            && store.abort_multipart(&key, &UploadId(id)).await.is_err()
                        {
                            return false;
                        }
                        store.delete(&key).await.is_ok()
                    })
                };
                queue.clear_leftovers(remove).await
            };
            match swept.await {
                Ok(_) => unreachable = false,
                Err(error) => {
                    if !unreachable {
                        tracing::warn!(code = %Failure::from(error).code, "cannot sweep; trying again");
                    }
                    unreachable = true;
                    // Everybody who could not reach the database either gets a lease's time to renew.
                    pause(stop, queue.settings().lease).await;
                }
            }
            pause(stop, queue.settings().sweep).await;
        }
    }
}

/// A lost lease is no failure: somebody else has the work, and nothing was changed.
fn unless_lost(error: QueueError) -> Result<(), QueueError> {
    match error {
        QueueError::LeaseLost(claim) => {
            tracing::warn!(%claim, "came too late; nothing was committed");
            Ok(())
        }
        other => Err(other),
    }
}

/// Runs `work` until it ends, its lease is lost or the process is to stop.
async fn under<T>(
    lease: &Lease,
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Stopped>>,
) -> Result<T, Stopped> {
    tokio::select! {
        biased;
        () = lease.lost().cancelled() => Err(Stopped::Lost),
        () = stop.cancelled() => Err(Stopped::Released),
        done = work => done,
    }
}

/// Does one thing after the other; waits when there was nothing to do or the database failed.
async fn repeat<F, W>(stop: &CancellationToken, one: F)
where
    F: Fn() -> W,
    W: Future<Output = Result<bool, QueueError>>,
{
    while !stop.is_cancelled() {
        match one().await {
            Ok(true) => {}
            // Loops that started together do not ask together for ever.
            Ok(false) => pause(stop, IDLE.mul_f64(rand::random_range(0.8..1.2))).await,
            Err(error) => {
                tracing::warn!(code = %Failure::from(error).code, "cannot use the queue; trying again");
                pause(stop, AFTER_FAILURE).await;
            }
        }
    }
}

async fn pause(stop: &CancellationToken, time: Duration) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}

/// Works one job to its end in this process, and nothing else. `watch` is shown the job as it goes on.
pub async fn run_job(
    worker: &Worker,
    requests: &Requests,
    tenant: &Tenant,
    job: JobId,
    stop: CancellationToken,
    mut watch: impl FnMut(&JobView),
) -> Result<JobView, Failure> {
    let working = CancellationToken::new();
    let running = tokio::spawn({
        let (worker, working) = (worker.clone(), working.clone());
        async move { worker.run(working).await }
    });
    let ended = loop {
        let found = requests.find(tenant, job).await;
        match found {
            Ok(Some(view)) => {
                watch(&view);
                if view.state.is_final() {
                    break Ok(view);
                }
            }
            Ok(None) => {
                break Err(Failure::new(
                    crate::error::ErrorCode::Internal,
                    "the job has disappeared from the database",
                ));
            }
            Err(failure) if failure.code.retryable() => {}
            Err(failure) => break Err(failure),
        }
        tokio::select! {
            () = stop.cancelled() => break Err(Failure::new(
                crate::error::ErrorCode::Cancelled,
                format!("interrupted; the export goes on when a worker runs, see request {job}"),
            )),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    };
    working.cancel();
    let _ = running.await;
    ended
}
