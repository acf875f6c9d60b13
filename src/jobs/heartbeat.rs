//! Keeps this process's leases alive, and tells the work when one is lost.
//!
//! Heartbeats run on a thread, a runtime and a connection of their own, so that encoding cannot starve them. Whatever
//! the database says or does not say, a lease that could not be renewed is given up one second before it could have
//! run out, measured on the monotonic clock from before the last successful renewal was sent.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::queue::{Claim, QueueSettings};

/// A lease that this process holds. Dropped, it is not renewed any more.
#[derive(Debug)]
pub struct Lease {
    claim: Claim,
    lost: CancellationToken,
    rows: Arc<AtomicI64>,
    held: Arc<Mutex<Held>>,
}

impl Lease {
    /// Cancelled when the lease is lost: the work must stop at once and leave nothing behind.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Where the work counts the rows it has read; reported with each heartbeat.
    pub fn rows(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.rows)
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
    rows: Arc<AtomicI64>,
    renewed: Instant,
}

/// The thread that renews leases.
#[derive(Debug)]
pub struct Heartbeat {
    held: Arc<Mutex<Held>>,
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
        let beat = Beat { held: Arc::clone(&held), database, settings };
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = beat.renew_for_ever() => {}
                    () = beat.fence_for_ever() => {}
                }
            });
        })?;
        Ok(Self { held, stop, thread: Some(thread) })
    }

    /// Keeps a claim alive from now on. `claimed_at` is a moment before the claim was asked for.
    pub fn hold(&self, claim: Claim, claimed_at: Instant) -> Lease {
        let lost = CancellationToken::new();
        let rows = Arc::new(AtomicI64::new(0));
        let entry = Entry { lost: lost.clone(), rows: Arc::clone(&rows), renewed: claimed_at };
        lock(&self.held).insert(claim.clone(), entry);
        Lease { claim, lost, rows, held: Arc::clone(&self.held) }
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
    database: PgConnectOptions,
    settings: QueueSettings,
}

impl Beat {
    /// How long one round may take before the connection is given up: two rounds fit into a lease.
    fn patience(&self) -> Duration {
        self.settings.lease.saturating_sub(Duration::from_secs(1)).saturating_sub(self.settings.heartbeat) / 2
    }

    async fn renew_for_ever(&self) {
        let mut connection: Option<PgConnection> = None;
        let mut every = tokio::time::interval(self.settings.heartbeat);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let claims: Vec<(Claim, i64)> = lock(&self.held)
                .iter()
                .map(|(claim, entry)| (claim.clone(), entry.rows.load(Ordering::Relaxed)))
                .collect();
            if claims.is_empty() {
                continue;
            }
            let sent = Instant::now();
            match tokio::time::timeout(self.patience(), self.renew(&mut connection, &claims)).await {
                Ok(Ok(kept)) => self.note(&claims, &kept, sent),
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

    async fn renew(
        &self,
        connection: &mut Option<PgConnection>,
        claims: &[(Claim, i64)],
    ) -> Result<Vec<Claim>, sqlx::Error> {
        let connection = match connection {
            Some(open) => open,
            None => connection.insert(self.database.connect().await?),
        };
        let lease = self.settings.lease.as_secs_f64();
        let mut kept = Vec::with_capacity(claims.len());

        let partitions: Vec<(i64, i64, i64)> = claims
            .iter()
            .filter_map(|(claim, rows)| match claim {
                Claim::Partition(id, epoch) => Some((*id, *epoch, *rows)),
                _ => None,
            })
            .collect();
        if !partitions.is_empty() {
            let renewed: Vec<i64> = sqlx::query_scalar(include_str!("sql/heartbeat_partitions.sql"))
                .bind(partitions.iter().map(|p| p.0).collect::<Vec<_>>())
                .bind(partitions.iter().map(|p| p.1).collect::<Vec<_>>())
                .bind(partitions.iter().map(|p| p.2).collect::<Vec<_>>())
                .bind(lease)
                .fetch_all(&mut *connection)
                .await?;
            kept.extend(partitions.iter().filter(|p| renewed.contains(&p.0)).map(|p| Claim::Partition(p.0, p.1)));
        }

        let plans: Vec<(Uuid, i64)> = claims
            .iter()
            .filter_map(|(claim, _)| match claim {
                Claim::Plan(job, epoch) => Some((job.0, *epoch)),
                _ => None,
            })
            .collect();
        if !plans.is_empty() {
            let renewed: Vec<Uuid> = sqlx::query_scalar(include_str!("sql/heartbeat_jobs.sql"))
                .bind(plans.iter().map(|p| p.0).collect::<Vec<_>>())
                .bind(plans.iter().map(|p| p.1).collect::<Vec<_>>())
                .bind(lease)
                .fetch_all(&mut *connection)
                .await?;
            kept.extend(
                claims
                    .iter()
                    .map(|(claim, _)| claim)
                    .filter(|claim| matches!(claim, Claim::Plan(job, _) if renewed.contains(&job.0)))
                    .cloned(),
            );
        }

        let tables: Vec<(Uuid, String, i64)> = claims
            .iter()
            .filter_map(|(claim, _)| match claim {
                Claim::Table(job, table, epoch) => Some((job.0, table.to_string(), *epoch)),
                _ => None,
            })
            .collect();
        if !tables.is_empty() {
            let renewed: Vec<(Uuid, String)> = sqlx::query_as(include_str!("sql/heartbeat_tables.sql"))
                .bind(tables.iter().map(|t| t.0).collect::<Vec<_>>())
                .bind(tables.iter().map(|t| t.1.clone()).collect::<Vec<_>>())
                .bind(tables.iter().map(|t| t.2).collect::<Vec<_>>())
                .bind(lease)
                .fetch_all(&mut *connection)
                .await?;
            kept.extend(claims.iter().map(|(claim, _)| claim).filter(|claim| {
                matches!(claim, Claim::Table(job, table, _) if renewed.contains(&(job.0, table.to_string())))
            }).cloned());
        }
        Ok(kept)
    }

    /// What was renewed holds from `sent`; what was not is lost.
    fn note(&self, asked: &[(Claim, i64)], kept: &[Claim], sent: Instant) {
        let mut held = lock(&self.held);
        for (claim, _) in asked {
            let Some(entry) = held.get_mut(claim) else { continue };
            if kept.contains(claim) {
                entry.renewed = sent;
            } else {
                tracing::warn!(%claim, "lease lost");
                entry.lost.cancel();
            }
        }
    }

    /// Gives up leases that could have run out, whatever became of their heartbeats.
    async fn fence_for_ever(&self) {
        let safe = self.settings.lease.saturating_sub(Duration::from_secs(1));
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
