//! Keeps this process's leases alive, and tells the work when one is lost.
//!
//! Heartbeats run on a thread, a runtime and connections of their own, so that encoding cannot starve them. Plans,
//! partitions and tables are renewed apart: one that must wait, as for its own commit that waits for somebody who is
//! frozen, keeps no other kind from being renewed. Whatever the database says or does not say, a lease that could not be
//! renewed is given up one second before it could have run out, measured on the monotonic clock from before the last
//! successful renewal was sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::model::JobId;
use super::progress::Progress;
use super::queue::{Claim, QueueSettings};

/// A lease that this process holds. Dropped, it is not renewed any more.
#[derive(Debug)]
pub struct Lease {
    claim: Claim,
    lost: CancellationToken,
    ending: CancellationToken,
    progress: Arc<Progress>,
    held: Arc<Mutex<Held>>,
}

impl Lease {
    /// Cancelled when the lease is lost: the work must stop at once and leave nothing behind.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Cancelled when the work's job is being ended: the work must stop at once, and the lease be given up.
    pub fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    /// Where the work counts what it moves; reported with each heartbeat.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        lock(&self.held).remove(&self.claim);
    }
}

type Held = HashMap<Claim, Entry>;

#[derive(Debug)]
struct Entry {
    lost: CancellationToken,
    ending: CancellationToken,
    progress: Arc<Progress>,
    renewed: Instant,
}

/// A lease that is to be renewed, and what its work has done so far.
#[derive(Debug)]
struct Due {
    claim: Claim,
    rows: i64,
    moved: i64,
}

/// A lease that was renewed, and whether its job is being ended.
#[derive(Debug)]
struct Kept {
    claim: Claim,
    ending: bool,
}

/// What a lease is held on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plan,
    Partition,
    Table,
}

impl Kind {
    fn of(claim: &Claim) -> Self {
        match claim {
            Claim::Plan(..) => Self::Plan,
            Claim::Partition(..) => Self::Partition,
            Claim::Table(..) => Self::Table,
        }
    }
}

/// Asks for a renewal before it is its time.
#[derive(Debug, Default)]
struct Hurry {
    plans: Notify,
    partitions: Notify,
    tables: Notify,
}

impl Hurry {
    fn of(&self, kind: Kind) -> &Notify {
        match kind {
            Kind::Plan => &self.plans,
            Kind::Partition => &self.partitions,
            Kind::Table => &self.tables,
        }
    }
}

/// The thread that renews leases.
#[derive(Debug)]
pub struct Heartbeat {
    held: Arc<Mutex<Held>>,
    hurry: Arc<Hurry>,
    every: Duration,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(database: PgConnectOptions, settings: QueueSettings) -> std::io::Result<Self> {
        let held = Arc::new(Mutex::new(Held::new()));
        let stop = CancellationToken::new();
        let hurry = Arc::<Hurry>::default();
        let beat = Beat { held: Arc::clone(&held), hurry: Arc::clone(&hurry), database, settings };
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = beat.renew_for_ever(Kind::Plan) => {}
                    () = beat.renew_for_ever(Kind::Partition) => {}
                    () = beat.renew_for_ever(Kind::Table) => {}
                    () = beat.fence_for_ever() => {}
                }
            });
        })?;
        Ok(Self { held, hurry, every: settings.heartbeat, stop, thread: Some(thread) })
    }

    /// Keeps a claim alive from now on. `claimed_at` is a moment before the claim was asked for; where that is long ago it is
    /// renewed at once.
    pub fn hold(&self, claim: Claim, claimed_at: Instant) -> Lease {
        let (lost, ending) = (CancellationToken::new(), CancellationToken::new());
        let progress = Arc::new(Progress::default());
        let entry =
            Entry { lost: lost.clone(), ending: ending.clone(), progress: Arc::clone(&progress), renewed: claimed_at };
        lock(&self.held).insert(claim.clone(), entry);
        if claimed_at.elapsed() >= self.every {
            self.hurry.of(Kind::of(&claim)).notify_one();
        }
        Lease { claim, lost, ending, progress, held: Arc::clone(&self.held) }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // The thread only waits on timers and sockets that the token interrupts.
            let _ = thread.join();
        }
    }
}

struct Beat {
    held: Arc<Mutex<Held>>,
    hurry: Arc<Hurry>,
    database: PgConnectOptions,
    settings: QueueSettings,
}

impl Beat {
    async fn renew_for_ever(&self, kind: Kind) {
        let mut connection: Option<PgConnection> = None;
        let mut every = tokio::time::interval(self.settings.heartbeat);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = self.hurry.of(kind).notified() => every.reset(),
            }
            let due = self.due(kind);
            if due.is_empty() {
                continue;
            }
            let sent = Instant::now();
            match tokio::time::timeout(self.settings.patience(), self.renew(kind, &mut connection, &due)).await {
                Ok(Ok(kept)) => self.note(&due, &kept, sent),
                Ok(Err(error)) => {
                    connection = None;
                    tracing::warn!(database = error.as_database_error().is_some(), "heartbeat failed; trying again");
                    every.reset_after(Duration::from_millis(500));
                }
                Err(_) => {
                    connection = None;
                    tracing::warn!("heartbeat was not answered in time; trying again");
                    every.reset_immediately();
                }
            }
        }
    }

    fn due(&self, kind: Kind) -> Vec<Due> {
        let held = lock(&self.held);
        let of_kind = held.iter().filter(|(claim, _)| Kind::of(claim) == kind);
        of_kind
            .map(|(claim, entry)| Due {
                claim: claim.clone(),
                rows: entry.progress.rows(),
                moved: entry.progress.moved(),
            })
            .collect()
    }

    async fn renew(
        &self,
        kind: Kind,
        connection: &mut Option<PgConnection>,
        due: &[Due],
    ) -> Result<Vec<Kept>, sqlx::Error> {
        let connection = match connection {
            Some(open) => open,
            None => connection.insert(self.database.connect().await?),
        };
        let lease = self.settings.lease.as_secs_f64();
        match kind {
            Kind::Plan => renew_plans(connection, due, lease).await,
            Kind::Partition => renew_partitions(connection, due, lease).await,
            Kind::Table => renew_tables(connection, due, lease).await,
        }
    }

    /// What was renewed holds from `sent`; what was not is lost.
    fn note(&self, asked: &[Due], kept: &[Kept], sent: Instant) {
        let mut held = lock(&self.held);
        for Due { claim, .. } in asked {
            let Some(entry) = held.get_mut(claim) else { continue };
            match kept.iter().find(|kept| kept.claim == *claim) {
                Some(kept) => {
                    entry.renewed = sent;
                    if kept.ending {
                        entry.ending.cancel();
                    }
                }
                None => {
                    tracing::warn!(%claim, "lease lost");
                    entry.lost.cancel();
                }
            }
        }
    }

    /// Gives up leases that could have run out, whatever became of their heartbeats.
    async fn fence_for_ever(&self) {
        let safe = self.settings.safe();
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            for (claim, entry) in lock(&self.held).iter() {
                if entry.renewed.elapsed() >= safe && !entry.lost.is_cancelled() {
                    tracing::warn!(%claim, "lease could not be renewed in time and is given up");
                    entry.lost.cancel();
                }
            }
        }
    }
}

/// A thread that panicked has left the map whole: every change to it is one insertion or removal.
fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn renew_partitions(connection: &mut PgConnection, due: &[Due], lease: f64) -> Result<Vec<Kept>, sqlx::Error> {
    let (mut ids, mut epochs, mut rows, mut moved) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for due in due {
        if let Claim::Partition(id, epoch) = &due.claim {
            ids.push(*id);
            epochs.push(*epoch);
            rows.push(due.rows);
            moved.push(due.moved);
        }
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let renewed: Vec<(i64, i64, bool)> = sqlx::query_as(include_str!("sql/heartbeat_partitions.sql"))
        .bind(ids)
        .bind(epochs)
        .bind(rows)
        .bind(lease)
        .bind(moved)
        .fetch_all(connection)
        .await?;
    Ok(renewed.into_iter().map(|(id, epoch, ending)| Kept { claim: Claim::Partition(id, epoch), ending }).collect())
}

async fn renew_plans(connection: &mut PgConnection, due: &[Due], lease: f64) -> Result<Vec<Kept>, sqlx::Error> {
    let plans = due.iter().filter_map(|due| match &due.claim {
        Claim::Plan(job, epoch) => Some((job.0, *epoch)),
        _ => None,
    });
    let (ids, epochs): (Vec<Uuid>, Vec<i64>) = plans.unzip();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let renewed: Vec<(Uuid, i64)> = sqlx::query_as(include_str!("sql/heartbeat_jobs.sql"))
        .bind(ids)
        .bind(epochs)
        .bind(lease)
        .fetch_all(connection)
        .await?;
    // A plan of a job that is ended loses its lease at once.
    Ok(renewed.into_iter().map(|(id, epoch)| Kept { claim: Claim::Plan(JobId(id), epoch), ending: false }).collect())
}

async fn renew_tables(connection: &mut PgConnection, due: &[Due], lease: f64) -> Result<Vec<Kept>, sqlx::Error> {
    let (mut jobs, mut names, mut epochs, mut moved) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for due in due {
        if let Claim::Table(job, table, epoch) = &due.claim {
            jobs.push(job.0);
            names.push(table.to_string());
            epochs.push(*epoch);
            moved.push(due.moved);
        }
    }
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let renewed: Vec<(Uuid, String, bool)> = sqlx::query_as(include_str!("sql/heartbeat_tables.sql"))
        .bind(jobs)
        .bind(names)
        .bind(epochs)
        .bind(lease)
        .bind(moved)
        .fetch_all(connection)
        .await?;
    let of = |job: Uuid, name: &str| {
        due.iter()
            .map(|due| &due.claim)
            .find(|claim| matches!(claim, Claim::Table(held, table, _) if held.0 == job && table.to_string() == name))
    };
    Ok(renewed
        .into_iter()
        .filter_map(|(job, name, ending)| Some(Kept { claim: of(job, &name)?.clone(), ending }))
        .collect())
}
