//! What a piece of work has moved so far: how it is seen that an attempt is alive but does not go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Counts what one attempt moves. Counts only grow; they are read by the heartbeat and by the watchdog.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicI64,
    stored: AtomicI64,
    checked: AtomicI64,
    held_back: Arc<AtomicI64>,
}

impl Progress {
    /// The counter of rows read, for the stage that reads.
    pub fn row_counter(&self) -> &AtomicI64 {
        &self.rows
    }

    /// Notes something that the object store has done: its bytes, or 1 for what has none.
    pub fn stored(&self, amount: u64) {
        self.stored.fetch_add(i64::try_from(amount.max(1)).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Notes that a piece of what was stored has been read back and checked.
    pub fn checked(&self) {
        self.checked.fetch_add(1, Ordering::Relaxed);
    }

    /// The counter of moments in which the work was held back by a limit of ours, for whoever holds it back. It waits,
    /// and does not stand still.
    pub fn held_back_counter(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.held_back)
    }

    /// Rows read.
    pub fn rows(&self) -> i64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// A number that differs whenever anything has moved: rows read, bytes stored, pieces checked and moments of being
    /// held back together.
    pub fn moved(&self) -> i64 {
        let worked = self.stored.load(Ordering::Relaxed).wrapping_add(self.checked.load(Ordering::Relaxed));
        self.rows().wrapping_add(worked).wrapping_add(self.held_back.load(Ordering::Relaxed))
    }
}
