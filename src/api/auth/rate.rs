//! How much one identity may ask: a bucket of tokens each, in this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Identity;

/// Most identities that are remembered.
const MOST_KNOWN: usize = 10_000;

/// What one identity may ask of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a second, for ever; 0 for no limit.
    pub per_second: u32,
    /// Requests at once after a pause.
    pub burst: u32,
}

impl RateLimit {
    /// No limit.
    pub const NONE: Self = Self { per_second: 0, burst: 0 };
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// The buckets.
#[derive(Debug)]
pub(in crate::api) struct Buckets {
    limit: RateLimit,
    known: Mutex<HashMap<(String, String), Bucket>>,
}

impl Buckets {
    pub(in crate::api) fn new(limit: RateLimit) -> Self {
        Self { limit, known: Mutex::default() }
    }

    /// Takes a token. The error says how long it takes until there is one.
    pub(in crate::api) fn take(&self, identity: &Identity) -> Result<(), Duration> {
        self.take_at(identity, Instant::now())
    }

    fn take_at(&self, identity: &Identity, now: Instant) -> Result<(), Duration> {
        if self.limit.per_second == 0 {
            return Ok(());
        }
        let (rate, burst) = (f64::from(self.limit.per_second), f64::from(self.limit.burst.max(1)));
        let filled = |bucket: &Bucket| {
            (bucket.tokens + now.saturating_duration_since(bucket.at).as_secs_f64() * rate).min(burst)
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN {
            // A full bucket is as good as none.
            known.retain(|_, bucket| filled(bucket) < burst);
        }
        let who = (identity.tenant.as_str().to_owned(), identity.subject.clone());
        let bucket = known.entry(who).or_insert(Bucket { tokens: burst, at: now });
        let tokens = filled(bucket);
        let enough = tokens >= 1.0;
        *bucket = Bucket { tokens: if enough { tokens - 1.0 } else { tokens }, at: now };
        if enough { Ok(()) } else { Err(Duration::from_secs_f64((1.0 - tokens) / rate)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;
    use crate::jobs::Tenant;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate_and_others_have_their_own() {
        let identity =
            |subject: &str, tenant: &str| Identity::new(subject.to_owned(), Tenant::new(tenant), [Role::Requester]);
        let (one, namesake) = (identity("a", "x"), identity("a", "y"));
        let buckets = Buckets::new(RateLimit { per_second: 10, burst: 3 });
        let start = Instant::now();
        let taken =
            |who: &Identity, at: Duration| (0..100).filter(|_| buckets.take_at(who, start + at).is_ok()).count();
        assert_eq!(taken(&one, Duration::ZERO), 3);
        assert_eq!(taken(&namesake, Duration::ZERO), 3);
        assert_eq!(taken(&one, Duration::from_millis(250)), 2);
        let wait = buckets.take_at(&one, start + Duration::from_millis(250)).unwrap_err();
        assert!(wait > Duration::from_millis(40) && wait <= Duration::from_millis(60), "{wait:?}");
        assert_eq!(taken(&one, Duration::from_secs(3600)), 3, "no more than the burst is saved");
        assert_eq!(Buckets::new(RateLimit::NONE).take_at(&one, start), Ok(()));
    }

    #[test]
    fn identities_without_end_take_no_memory_without_end() {
        let buckets = Buckets::new(RateLimit { per_second: 1_000, burst: 1 });
        let start = Instant::now();
        for n in 0..50_000_u64 {
            let identity = Identity::new(n.to_string(), Tenant::default(), [Role::Requester]);
            buckets.take_at(&identity, start + Duration::from_millis(n)).unwrap();
        }
        assert!(buckets.known.lock().unwrap().len() <= MOST_KNOWN + 1);
    }
}
