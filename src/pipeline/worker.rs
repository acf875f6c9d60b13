//! The worker: claims from the queue and walks the stages, until it is told to stop.
//!
//! Each kind of work has loops of its own, so that planning never waits for a long partition and a finished table is
//! published while others are still read. Told to stop, a worker gives its work back at once; losing a lease, it
//! leaves without a word.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::day::{check_day, close_day};
use super::extract::extract;
use super::plan::plan;
use super::publish::publish;
use super::retention::{archive, retain};
use super::snapshot::Snapshots;
use super::sweep::{clear, sweep};
use super::underway::Underway;
use super::watch::{Watched, no_progress};
use super::{Pipeline, Stopped, standby};
use crate::error::Failure;
use crate::jobs::{Claim, Heartbeat, JobId, JobView, Lease, QueueError, Requests, Tenant};

/// How long an idle loop waits before it looks again, unless a stage of this process has just left it something.
const IDLE: Duration = Duration::from_millis(300);
/// How many times longer than any other work a plan may take: its questions have time-outs of their own, and how far it
/// has come is not counted.
const PLANNING: u32 = 4;
/// How often it is looked for what has expired.
const RETENTION: Duration = Duration::from_secs(60);
/// How often it is looked for a day that has ended.
const CLOSING: Duration = Duration::from_secs(1);
/// How long a worker that stops waits for what is under way to the store.
const UNDERWAY: Duration = Duration::from_secs(5);
/// How long it waits after the database failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Works the queue in this process.
#[derive(Debug, Clone)]
pub struct Worker {
    pipeline: Arc<Pipeline>,
    heartbeat: Arc<Heartbeat>,
    snapshots: Arc<Snapshots>,
    /// Partitions that are extracted at this moment. A publication checks files in the place of those that could be.
    extracting: Arc<AtomicUsize>,
    /// Requests to the store, also those of attempts that are over.
    underway: Underway,
    /// What a stage has left for the next one. The queue alone says what there is; this says when to look.
    left: Arc<Left>,
}

/// Wakes the loops of this process that have something to look for.
#[derive(Debug, Default)]
struct Left {
    partitions: Notify,
    tables: Notify,
}

impl Worker {
    /// A worker over these stages, its leases kept by this heartbeat.
    pub fn new(pipeline: Pipeline, heartbeat: Heartbeat) -> Self {
        let Pipeline { queue, warehouse, settings, .. } = &pipeline;
        let snapshots = Snapshots::new(queue.clone(), Arc::clone(warehouse), settings.concurrent_partitions);
        Self {
            pipeline: Arc::new(pipeline),
            heartbeat: Arc::new(heartbeat),
            snapshots: Arc::new(snapshots),
            extracting: Arc::default(),
            underway: Underway::default(),
            left: Arc::default(),
        }
    }

    /// Works until `stop` is cancelled and everything in hand has been given back.
    pub async fn run(&self, stop: CancellationToken) {
        tracing::info!(worker = %self.pipeline.queue.worker(), partitions = self.pipeline.settings.concurrent_partitions, "worker started");
        let mut loops = JoinSet::new();
        for _ in 0..self.pipeline.settings.concurrent_partitions.max(1) {
            let (worker, stop) = (self.clone(), stop.clone());
            loops.spawn(async move { repeat(&stop, &worker.left.partitions, || worker.extract_one(&stop)).await });
        }
        let (worker, planning) = (self.clone(), stop.clone());
        loops.spawn(async move { repeat(&planning, &Notify::new(), || worker.plan_one(&planning)).await });
        let (worker, publishing) = (self.clone(), stop.clone());
        loops.spawn(async move { repeat(&publishing, &worker.left.tables, || worker.publish_one(&publishing)).await });
        let (worker, sweeping) = (self.clone(), stop.clone());
        loops.spawn(async move { worker.sweep_for_ever(&sweeping).await });
        let (worker, closing) = (self.clone(), stop.clone());
        loops.spawn(async move { worker.close_for_ever(&closing).await });
        // A process that works one job alone leaves other jobs alone.
        if self.pipeline.queue.works_all() {
            let (worker, retaining) = (self.clone(), stop.clone());
            loops.spawn(async move { worker.retain_for_ever(&retaining).await });
        }
        while let Some(ended) = loops.join_next().await {
            if ended.is_err() {
                tracing::error!("a loop of the worker ended unexpectedly; the process stops working");
                stop.cancel();
            }
        }
        self.snapshots.close().await;
        if !self.underway.ended(UNDERWAY).await {
            tracing::warn!(
                "the object store has not answered yet: an upload or a copy that it still makes may be nobody's"
            );
        }
        tracing::info!("worker stopped");
    }

    async fn plan_one(&self, stop: &CancellationToken) -> Result<bool, QueueError> {
        let asked = Instant::now();
        let queue = &self.pipeline.queue;
        let Some(task) = queue.claim_plan().await? else { return Ok(false) };
        let claim = Claim::Plan(task.job, task.epoch);
        if self.is_late(asked) {
            return self.came_late(&claim).await;
        }
        let lease = self.heartbeat.hold(claim.clone(), asked);
        tracing::info!(job = %task.job, attempt = task.attempt, "planning");
        let patience = Patience { limit: self.pipeline.settings.stall * PLANNING, before_first: Duration::ZERO };
        let planning = async {
            self.pipeline.warehouse.ready(task.window.end).await?;
            Ok(plan(&self.pipeline, &task).await?)
        };
        match under(&lease, stop, patience, planning).await {
            Ok((revision, tables)) => {
                let planned = tables.len();
                queue.finish_plan(&task, revision, tables).await.or_else(unless_lost)?;
                self.left.partitions.notify_waiters();
                tracing::info!(job = %task.job, tables = planned, "planned");
            }
            Err(Stopped::Failed(failure)) if standby::plan_waits(&failure) => {
                standby::pause(&self.pipeline, task.job, &claim, &failure).await.or_else(unless_lost)?;
            }
            Err(Stopped::Failed(failure)) => {
                tracing::warn!(job = %task.job, attempt = task.attempt, code = %failure.code, message = %failure.message, "planning failed");
                let retry = self.pipeline.settings.retry(&failure, task.attempt);
                queue.fail_plan(&task, &failure, retry).await.or_else(unless_lost)?;
            }
            Err(Stopped::Released) => queue.release(&claim).await.or_else(unless_lost)?,
            Err(Stopped::Ending) => self.give_up(&claim).await?,
            Err(Stopped::Lost) => {}
        }
        Ok(true)
    }

    async fn extract_one(&self, stop: &CancellationToken) -> Result<bool, QueueError> {
        let asked = Instant::now();
        let queue = &self.pipeline.queue;
        let Some(task) = queue.claim_partition().await? else { return Ok(false) };
        let claim = Claim::Partition(task.id, task.epoch);
        if self.is_late(asked) {
            return self.came_late(&claim).await;
        }
        let lease = self.heartbeat.hold(claim.clone(), asked);
        tracing::info!(job = %task.job, table = %task.table, partition = task.ordinal, attempt = task.attempt, "extracting");
        let (watched, progress) = (self.watched(&lease), lease.progress());
        let settings = &self.pipeline.settings;
        let patience = Patience { limit: settings.stall, before_first: settings.first_row_timeout };
        let extracting = async {
            let _counted = Counted::new(&self.extracting);
            let snapshot = self.snapshots.of(&task).await;
            extract(&watched, &task, snapshot, &progress, &self.underway).await
        };
        match under(&lease, stop, patience, extracting).await {
            Ok(staged) => {
                let (count, bytes) = (staged.rows, staged.bytes);
                if let Err(error) = queue.complete_partition(&task, staged).await {
                    unless_lost(error)?;
                    // It may be that the job is being ended; then nobody else gives this up sooner.
                    return self.give_up(&claim).await.map(|()| true);
                }
                self.left.tables.notify_waiters();
                tracing::info!(job = %task.job, table = %task.table, partition = task.ordinal, rows = count, bytes, seconds = asked.elapsed().as_secs_f64(), "extracted");
                metrics::counter!("exporter_partitions_total", "result" => "completed").increment(1);
            }
            Err(Stopped::Failed(failure)) if standby::waits(&failure) => {
                metrics::counter!("exporter_partitions_total", "result" => "paused").increment(1);
                standby::pause(&self.pipeline, task.job, &claim, &failure).await.or_else(unless_lost)?;
            }
            Err(Stopped::Failed(failure)) if standby::conflicts(&failure, &task) => {
                metrics::counter!("exporter_partitions_total", "result" => "conflict").increment(1);
                if let Err(error) = standby::cut(&self.pipeline, &task, &failure).await {
                    unless_lost(error)?;
                    // As above: the job may be ending.
                    return self.give_up(&claim).await.map(|()| true);
                }
            }
            Err(Stopped::Failed(failure)) => {
                tracing::warn!(job = %task.job, table = %task.table, partition = task.ordinal, attempt = task.attempt, code = %failure.code, message = %failure.message, "extraction failed");
                metrics::counter!("exporter_partitions_total", "result" => "failed").increment(1);
                let retry = self.pipeline.settings.retry(&failure, task.attempt);
                queue.fail_partition(&task, &failure, retry).await.or_else(unless_lost)?;
            }
            Err(Stopped::Released) => queue.release(&claim).await.or_else(unless_lost)?,
            Err(Stopped::Ending) => self.give_up(&claim).await?,
            Err(Stopped::Lost) => {}
        }
        Ok(true)
    }

    async fn publish_one(&self, stop: &CancellationToken) -> Result<bool, QueueError> {
        let asked = Instant::now();
        let queue = &self.pipeline.queue;
        let Some(task) = queue.claim_table().await? else { return Ok(false) };
        let claim = Claim::Table(task.job, task.table.clone(), task.epoch);
        if self.is_late(asked) {
            return self.came_late(&claim).await;
        }
        let lease = self.heartbeat.hold(claim.clone(), asked);
        let watched = self.watched(&lease);
        let patience = Patience { limit: self.pipeline.settings.stall, before_first: Duration::ZERO };
        let slots = self.pipeline.settings.concurrent_partitions;
        let at_once = || slots.saturating_sub(self.extracting.load(Ordering::Relaxed));
        let progress = lease.progress();
        let publishing = publish(&watched, &task, &progress, &at_once, &self.underway);
        match under(&lease, stop, patience, publishing).await {
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
            Err(Stopped::Ending) => self.give_up(&claim).await?,
            Err(Stopped::Lost) => {}
        }
        Ok(true)
    }

    /// Whether a claim that was asked for then leaves no time to renew its lease.
    fn is_late(&self, asked: Instant) -> bool {
        let settings = self.pipeline.queue.settings();
        asked.elapsed() + settings.patience() >= settings.safe()
    }

    /// Gives back what was claimed so long ago, by the answer, that nothing could be done under its lease.
    async fn came_late(&self, claim: &Claim) -> Result<bool, QueueError> {
        tracing::warn!(%claim, "claimed too long ago to begin with it; it is put back");
        self.pipeline.queue.release(claim).await.or_else(unless_lost)?;
        Ok(true)
    }

    /// Ends what this worker holds of a job that is being ended: the lease is given up, the upload aborted.
    async fn give_up(&self, claim: &Claim) -> Result<(), QueueError> {
        tracing::info!(%claim, "given up: its job is being ended");
        self.pipeline.queue.abandon(claim).await?;
        clear(&self.pipeline.queue, &self.pipeline.store).await
    }

    async fn sweep_for_ever(&self, stop: &CancellationToken) {
        let queue = &self.pipeline.queue;
        let mut unreachable = false;
        while !stop.is_cancelled() {
            match sweep(queue, &self.pipeline.store).await {
                Ok(()) => unreachable = false,
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

    /// Shows restated tables in their folders, and closes one day whose job has ended: of the job that this worker is for, or
    /// of any. `false` when there is none.
    ///
    /// # Errors
    /// The store's and the database's; the day stays open and is closed later.
    pub async fn close_day(&self) -> Result<bool, Failure> {
        let Pipeline { queue, rules, store, layout, .. } = &*self.pipeline;
        close_day(queue, rules, store, layout).await
    }

    /// Closes a day, or else looks after one that is closed, unless this worker is for one job.
    async fn close_or_check(&self) -> Result<bool, Failure> {
        let Pipeline { queue, rules, store, layout, .. } = &*self.pipeline;
        Ok(self.close_day().await? || queue.works_all() && check_day(queue, rules, store, layout).await?)
    }

    /// Closes days whose job has ended, and looks after those that are closed.
    async fn close_for_ever(&self, stop: &CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            match self.close_or_check().await {
                Ok(true) => failing = false,
                Ok(false) => {
                    failing = false;
                    pause(stop, CLOSING.mul_f64(rand::random_range(0.8..1.2))).await;
                }
                Err(failure) => {
                    if !failing {
                        tracing::warn!(code = %failure.code, message = %failure.message, "cannot close a day; trying again");
                    }
                    failing = true;
                    pause(stop, AFTER_FAILURE).await;
                }
            }
        }
    }

    async fn retain_for_ever(&self, stop: &CancellationToken) {
        let Pipeline { queue, store, settings, .. } = &*self.pipeline;
        while !stop.is_cancelled() {
            match retain(queue, store.as_ref(), settings.keep, stop).await {
                Ok(done) if done.jobs > 0 => {
                    tracing::info!(jobs = done.jobs, objects = done.objects, "deleted what has expired");
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(code = %Failure::from(error).code, "cannot delete what has expired; trying again")
                }
            }
            if let Err(error) = archive(queue, settings.history, stop).await {
                tracing::warn!(code = %Failure::from(error).code, "cannot archive what ended long ago; trying again");
            }
            pause(stop, RETENTION.mul_f64(rand::random_range(0.8..1.2))).await;
        }
    }

    /// The stages as this attempt uses them: what the store does for it is counted as its progress.
    fn watched(&self, lease: &Lease) -> Pipeline {
        let store = Arc::new(Watched::new(Arc::clone(&self.pipeline.store), lease.progress()));
        Pipeline { store, ..(*self.pipeline).clone() }
    }
}

/// Counts for as long as it lives.
struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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

/// How long an attempt may go without progress.
struct Patience {
    limit: Duration,
    /// So much longer until something has moved at all.
    before_first: Duration,
}

/// Runs `work` until it ends, its lease is lost, its job or the process is to end, or nothing of it moves any more.
async fn under<T>(
    lease: &Lease,
    stop: &CancellationToken,
    patience: Patience,
    work: impl Future<Output = Result<T, Stopped>>,
) -> Result<T, Stopped> {
    let progress = lease.progress();
    tokio::select! {
        biased;
        () = lease.lost().cancelled() => Err(Stopped::Lost),
        () = lease.ending().cancelled() => Err(Stopped::Ending),
        () = stop.cancelled() => Err(Stopped::Released),
        failure = no_progress(&progress, patience.limit, patience.before_first) => Err(Stopped::Failed(failure)),
        done = work => done,
    }
}

/// Does one thing after the other; waits when there was nothing to do, until something was `left`, or the database
/// failed.
async fn repeat<F, W>(stop: &CancellationToken, left: &Notify, one: F)
where
    F: Fn() -> W,
    W: Future<Output = Result<bool, QueueError>>,
{
    while !stop.is_cancelled() {
        // From before the question on: what is left while it is asked is not missed.
        let mut woken = pin!(left.notified());
        woken.as_mut().enable();
        match one().await {
            Ok(true) => {}
            Ok(false) => tokio::select! {
                () = woken => {}
                // Loops that started together do not ask together for ever.
                () = pause(stop, IDLE.mul_f64(rand::random_range(0.8..1.2))) => {}
            },
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
