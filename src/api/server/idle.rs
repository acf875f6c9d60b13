//! Which connections ask for nothing, and for how long: those give way when there are too many.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// The idle connections, the one that has been idle for the longest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Idle {
    order: Arc<Mutex<Order>>,
}

#[derive(Debug, Default)]
struct Order {
    next: u64,
    idle: BTreeMap<u64, CancellationToken>,
}

impl Idle {
    fn with<T>(&self, work: impl FnOnce(&mut Order) -> T) -> T {
        work(&mut self.order.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A connection that has just come and asked for nothing yet.
    pub(super) fn sit(&self) -> Seat {
        let seat = Seat {
            idle: self.clone(),
            leave: CancellationToken::new(),
            at: Mutex::new(None),
            begun: AtomicUsize::new(0),
            used: AtomicBool::new(false),
        };
        seat.rest();
        seat
    }

    /// Asks the one that has been idle for the longest to leave. If there is none, nobody is asked.
    pub(super) fn dismiss_longest(&self) -> bool {
        let longest = self.with(|order| order.idle.pop_first());
        longest.map(|(_, leave)| leave.cancel()).is_some()
    }
}

/// What is known of one connection.
#[derive(Debug)]
pub(super) struct Seat {
    idle: Idle,
    leave: CancellationToken,
    /// Its place in the order while it is idle.
    at: Mutex<Option<u64>>,
    begun: AtomicUsize,
    used: AtomicBool,
}

impl Seat {
    fn at(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rest(&self) {
        let mut at = self.at();
        *at = Some(self.idle.with(|order| {
            order.next += 1;
            order.idle.insert(order.next, self.leave.clone());
            order.next
        }));
    }

    fn rise(&self) {
        if let Some(at) = self.at().take() {
            self.idle.with(|order| order.idle.remove(&at));
        }
    }

    /// A request begins; it ends when the answer is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.used.store(true, Ordering::SeqCst);
        if self.begun.fetch_add(1, Ordering::SeqCst) == 0 {
            self.rise();
        }
        Busy(Arc::clone(self))
    }

    /// Whether it never asked for anything.
    pub(super) fn is_unused(&self) -> bool {
        !self.used.load(Ordering::SeqCst)
    }

    /// Whether a request is being answered.
    pub(super) fn is_busy(&self) -> bool {
        self.begun.load(Ordering::SeqCst) > 0
    }

    /// Ends when this connection is to give way.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.rise();
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.begun.fetch_sub(1, Ordering::SeqCst) == 1 && !self.0.leave.is_cancelled() {
            self.0.rest();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_idle_for_the_longest_leaves_and_no_busy_one() {
        let idle = Idle::default();
        let seats: Vec<Arc<Seat>> = (0..4).map(|_| Arc::new(idle.sit())).collect();
        let left = || seats.iter().map(|seat| seat.leave.is_cancelled()).collect::<Vec<_>>();
        let busy = seats[0].begin();
        drop(seats[1].begin());
        assert!(idle.dismiss_longest());
        assert_eq!(left(), [false, false, true, false]);
        drop(busy);
        for _ in 0..3 {
            assert!(idle.dismiss_longest());
        }
        assert!(!idle.dismiss_longest(), "each is asked once");
        assert_eq!(left(), [true; 4]);
        assert!(!seats[0].is_unused() && seats[3].is_unused());
        drop(seats);
        assert!(idle.with(|order| order.idle.is_empty()));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let idle = Idle::default();
        for _ in 0..100 {
            let seat = Arc::new(idle.sit());
            drop(seat.begin());
        }
        assert!(idle.with(|order| order.idle.is_empty()));
    }
}
