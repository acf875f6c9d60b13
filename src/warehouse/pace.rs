//! How fast a process reads from its warehouse, at most: a bucket of tokens for rows and one for bytes, shared by all
//! of its scans.
//!
//! A scan pays for what it has read, and reads no further until the debt of all scans is paid. Meanwhile its socket
//! fills up and the server waits: nothing is dropped, and nothing is held in memory that would not be there anyway.
//! What is read at once is paid for at once, so the law is one of averages: over any time `t`, all scans together read
//! at most `rate · t` and what fits into the bucket and, for each scan, one socket buffer of theirs.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What fits into a bucket while nobody reads, as a share of a second. Small, so that a pause is not made up for by a
/// burst.
const BURST: f64 = 0.1;

/// How often a scan that waits says that it does.
const TICK: Duration = Duration::from_millis(200);

/// Longer than anybody waits, in seconds; a clock can still count it.
const FOR_EVER: f64 = 1e9;

/// The most that a process reads a second; `None` for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadLimits {
    /// Rows a second.
    pub rows: Option<NonZeroU64>,
    /// Bytes a second, as the warehouse sends them.
    pub bytes: Option<NonZeroU64>,
}

/// Counts up while a scan is held back by a limit, so that waiting is not taken for standing still.
#[derive(Debug, Clone, Default)]
pub struct HeldBack(Arc<AtomicI64>);

impl HeldBack {
    /// Counts in this counter.
    pub fn counted_in(counter: Arc<AtomicI64>) -> Self {
        Self(counter)
    }

    fn tick(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The buckets of a process.
#[derive(Debug)]
pub(in crate::warehouse) struct Pace {
    rows: Option<Mutex<Bucket>>,
    bytes: Option<Mutex<Bucket>>,
}

impl Pace {
    pub(in crate::warehouse) fn new(limits: ReadLimits) -> Self {
        let bucket = |rate: NonZeroU64| Mutex::new(Bucket::new(rate, Instant::now()));
        Self { rows: limits.rows.map(bucket), bytes: limits.bytes.map(bucket) }
    }

    /// Pays for what was read, and waits until the debt of all is paid. Losing this future loses no payment.
    pub(in crate::warehouse) async fn pay(&self, rows: u64, bytes: u64, held_back: &HeldBack) {
        let until = self.owe(rows, bytes);
        while let left = until.saturating_duration_since(Instant::now())
            && !left.is_zero()
        {
            held_back.tick();
            sleep(left.min(TICK)).await;
        }
    }

    /// Takes for what was read, and says until when whoever wants to read on has to wait.
    pub(in crate::warehouse) fn owe(&self, rows: u64, bytes: u64) -> Instant {
        let now = Instant::now();
        let wait = |bucket: &Option<Mutex<Bucket>>, amount: u64| {
            bucket.as_ref().map_or(Duration::ZERO, |bucket| {
                bucket.lock().unwrap_or_else(PoisonError::into_inner).take(amount, now)
            })
        };
        // Each bucket is paid, whichever makes the scan wait.
        now + wait(&self.rows, rows).max(wait(&self.bytes, bytes))
    }
}

/// A token bucket that may be overdrawn.
#[derive(Debug)]
struct Bucket {
    /// Tokens a second.
    rate: f64,
    /// Tokens that are there at `at`; less than none is debt.
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: NonZeroU64, at: Instant) -> Self {
        // Rates are far below the integers that a double holds exactly.
        let rate = rate.get() as f64;
        Self { rate, tokens: rate * BURST, at }
    }

    /// Takes so many tokens, and says how long it takes until there is no debt any more.
    fn take(&mut self, amount: u64, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + self.rate * since).min(self.rate * BURST) - amount as f64;
        self.at = self.at.max(now);
        Duration::from_secs_f64((-self.tokens / self.rate).clamp(0.0, FOR_EVER))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Several scans share a bucket, each in its own rhythm, on a clock that the test turns.
        #[test]
        fn all_scans_together_read_at_the_rate_and_no_slower(
            rate in 1_u64..2_000_000,
            scans in prop::collection::vec(prop::collection::vec((1_u64..300_000, 0_u64..3_000), 1..40), 1..5),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(NonZeroU64::new(rate).unwrap(), start);
            // When each scan reads next, and what it has read so far.
            let mut next: Vec<(Instant, usize)> = scans.iter().map(|_| (start, 0)).collect();
            let (mut paid, mut idle, mut last_paid) = (0_u64, Duration::ZERO, start);
            let largest = scans.iter().flatten().map(|(amount, _)| *amount).max().unwrap();
            while let Some(scan) = (0..scans.len()).filter(|&s| next[s].1 < scans[s].len()).min_by_key(|&s| next[s].0) {
                let (now, step) = next[scan];
                let (amount, own_pause) = scans[scan][step];
                // Everything that was taken before this moment, of which each scan may owe its last reading.
                let most = rate as f64 * ((now - start).as_secs_f64() + BURST) + (largest * scans.len() as u64) as f64;
                prop_assert!(paid as f64 <= most + 1.0, "{paid} of {most} after {:?}", now - start);
                let wait = bucket.take(amount, now);
                paid += amount;
                last_paid = last_paid.max(now + wait);
                idle += Duration::from_millis(own_pause);
                next[scan] = (now + wait + Duration::from_millis(own_pause), step + 1);
            }
            // Nobody waits for more than what was read: at the rate, and for the pauses that they made themselves.
            let needed = Duration::from_secs_f64(paid as f64 / rate as f64) + idle;
            prop_assert!(last_paid - start <= needed + Duration::from_millis(1), "{:?} of {needed:?}", last_paid - start);
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let start = Instant::now();
        let mut bucket = Bucket::new(NonZeroU64::new(1_000).unwrap(), start);
        let after_an_hour = start + Duration::from_secs(3_600);
        assert_eq!(bucket.take(100, after_an_hour), Duration::ZERO);
        assert_eq!(bucket.take(500, after_an_hour), Duration::from_millis(500));
        // An older clock gives nothing twice.
        assert_eq!(bucket.take(0, start), Duration::from_millis(500));
        assert_eq!(bucket.take(0, after_an_hour + Duration::from_millis(500)), Duration::ZERO);
    }

    #[tokio::test]
    async fn without_limits_nobody_waits_and_with_one_waiting_shows() {
        let counter = Arc::new(AtomicI64::new(0));
        let held_back = HeldBack::counted_in(Arc::clone(&counter));
        Pace::new(ReadLimits::default()).pay(u64::MAX, u64::MAX, &held_back).await;
        assert_eq!(counter.load(Ordering::Relaxed), 0);
        for limits in [
            ReadLimits { rows: NonZeroU64::new(1_000), bytes: None },
            ReadLimits { rows: None, bytes: NonZeroU64::new(1_000) },
        ] {
            let before = counter.load(Ordering::Relaxed);
            let begun = Instant::now();
            Pace::new(limits).pay(600, 600, &held_back).await;
            assert!(begun.elapsed() >= Duration::from_millis(500) && counter.load(Ordering::Relaxed) > before);
        }
    }
}
