//! Sends what is due, again and again, and looks for what nobody does.
//!
//! Workers and schedulers run it, and no process that only answers requests: those face the outside, come and go with its
//! load, and need no right to publish.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Message, Notifier, Origin};
use crate::error::{ErrorCode, Failure};
use crate::jobs::days::Now;
use crate::jobs::outbox::{Outbox, ToSend};

/// How often it is looked for what is due.
const LOOK: Duration = Duration::from_secs(2);
/// How often it is looked for what stands still.
const WATCH: Duration = Duration::from_secs(30);
/// How long what is on its way may take when the process stops.
const GRACE: Duration = Duration::from_secs(5);
/// Messages that one process sends at the same time.
const AT_ONCE: usize = 10;
/// How long notifications that were sent can be looked up.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// From when on it is told of what nobody does.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// How long nothing of a request moves.
    pub stall: Duration,
    /// How long a day that is due is not begun.
    pub start_deadline: Duration,
}

/// Sends what the outbox holds.
#[derive(Debug, Clone)]
pub struct Sender {
    outbox: Outbox,
    notifier: Arc<dyn Notifier>,
    origin: Origin,
    watch: Watch,
}

impl Sender {
    /// To this receiver.
    pub fn new(outbox: Outbox, notifier: Arc<dyn Notifier>, origin: Origin, watch: Watch) -> Self {
        Self { outbox, notifier, origin, watch }
    }

    /// Sends until `stop` is cancelled. What is on its way then has a little time; what has not arrived by then is sent
    /// again by somebody else.
    pub async fn run(&self, stop: &CancellationToken) {
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            () = self.repeat(stop) => {}
            () = stopped => {}
        }
    }

    async fn repeat(&self, stop: &CancellationToken) {
        let mut watched: Option<Instant> = None;
        let mut reachable = true;
        while !stop.is_cancelled() {
            let sent = self.send_due().await;
            let mut failed = sent.as_ref().err().cloned();
            if watched.is_none_or(|at| at.elapsed() >= WATCH) {
                watched = Some(Instant::now());
                failed = self.watch().await.err().or(failed);
            }
            if let Some(failure) = failed.as_ref().filter(|_| reachable) {
                tracing::warn!(code = %failure.code, "cannot look for what there is to tell; trying again");
            }
            reachable = failed.is_none();
            if sent.unwrap_or(0) < AT_ONCE {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(LOOK.mul_f64(rand::random_range(0.8..1.2))) => {}
                }
            }
        }
    }

    /// Sends what is due now, some of it. Returns how many notifications that were.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`: what was sent and could not be written down is sent again.
    pub async fn send_due(&self) -> Result<usize, Failure> {
        let due = self.outbox.claim(i64::try_from(AT_ONCE).unwrap_or(1)).await?;
        let count = due.len();
        let done: Vec<Result<(), Failure>> =
            stream::iter(due).map(|one| self.send(one)).buffer_unordered(AT_ONCE).collect().await;
        done.into_iter().collect::<Result<Vec<()>, Failure>>()?;
        Ok(count)
    }

    async fn send(&self, notification: ToSend) -> Result<(), Failure> {
        let message = Message::of(&notification, &self.origin);
        let (id, kind) = (notification.event_id, &notification.event_type);
        // Half of the lease, so that what was sent is written down before somebody else sends it.
        let patience = self.outbox.rules().lease / 2;
        let sent = tokio::time::timeout(patience, self.notifier.send(&message)).await.unwrap_or_else(|_| {
            Err(Failure::new(ErrorCode::NotificationUnavailable, "the receiver did not answer in time"))
        });
        let result = match sent {
            Ok(()) => {
                self.outbox.sent(&notification).await?;
                "sent"
            }
            Err(why) => {
                let attempt = notification.attempts;
                if self.outbox.failed(&notification, &why).await? {
                    tracing::error!(event = %id, kind, attempt, code = %why.code, message = %why.message, "a notification was given up; resend it when its cause is gone");
                    "dead"
                } else {
                    tracing::warn!(event = %id, kind, attempt, code = %why.code, message = %why.message, "a notification could not be sent; trying again");
                    "failed"
                }
            }
        };
        metrics::counter!("exporter_notifications_total", "result" => result).increment(1);
        Ok(())
    }

    /// Looks once for what stands still, forgets what was sent long ago, and counts what waits.
    ///
    /// # Errors
    /// `METADATA_UNAVAILABLE`.
    pub async fn watch(&self) -> Result<(), Failure> {
        self.outbox.tell_stalled(self.watch.stall).await?;
        self.outbox.tell_late_days(self.watch.start_deadline, Now::OfDatabase).await?;
        self.outbox.forget_sent(KEPT).await?;
        let waiting = self.outbox.waiting().await?;
        for (state, count) in [("pending", waiting.pending), ("dead", waiting.dead)] {
            // Counts far below what an f64 holds.
            #[allow(clippy::cast_precision_loss)]
            metrics::gauge!("exporter_notifications_waiting", "state" => state).set(count as f64);
        }
        Ok(())
    }
}
