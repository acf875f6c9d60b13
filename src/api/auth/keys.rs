//! API keys: looked up by prefix, compared in constant time, remembered for moments.
//!
//! What is remembered was asked for at most [`REMEMBERED`] ago, so a revoked key stops working everywhere within that
//! time. Guesses cost the database little: few look-ups run at once, and a prefix that is unknown is remembered too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::Identity;
use crate::error::Failure;
use crate::identity::{KeyStore, PresentedKey, StoredKey};

/// How long an answer of the database is believed.
const REMEMBERED: Duration = Duration::from_secs(3);
/// How often a key's last use is noted.
const NOTED_EVERY: Duration = Duration::from_secs(60);
/// Look-ups at once.
const LOOKUPS: usize = 4;
/// Most prefixes that are remembered.
const MOST_KNOWN: usize = 10_000;

#[derive(Debug, Clone)]
struct Known {
    key: Option<Arc<StoredKey>>,
    until: Instant,
    noted: Option<Instant>,
}

/// Proves API keys.
#[derive(Debug)]
pub(super) struct ApiKeys {
    store: KeyStore,
    known: Mutex<HashMap<String, Known>>,
    lookups: Semaphore,
}

impl ApiKeys {
    pub(super) fn new(store: KeyStore) -> Self {
        Self { store, known: Mutex::default(), lookups: Semaphore::new(LOOKUPS) }
    }

    /// Whose key this is. `None` for one that does not work, for whatever reason.
    pub(super) async fn identity(&self, text: &str) -> Result<Option<Identity>, Failure> {
        let Some(shown) = PresentedKey::parse(text) else { return Ok(None) };
        let Some(key) = self.stored(shown.prefix).await? else { return Ok(None) };
        // Compared even if it has ended, so that the time taken does not tell.
        let proven = shown.matches(&key.sha256);
        if !proven || key.valid_for == Some(Duration::ZERO) {
            return Ok(None);
        }
        self.note_use(shown.prefix, &key);
        let subject = format!("key:{}:{}", key.name, shown.prefix);
        Ok(Some(Identity::new(subject, key.tenant.clone(), [key.role])))
    }

    async fn stored(&self, prefix: &str) -> Result<Option<Arc<StoredKey>>, Failure> {
        if let Some(known) = self.fresh(prefix) {
            return Ok(known.key);
        }
        // Closed by nobody. Whoever waited finds what the one before has asked for.
        let _place = self.lookups.acquire().await;
        if let Some(known) = self.fresh(prefix) {
            return Ok(known.key);
        }
        let asked = Instant::now();
        let key = self.store.find(prefix).await?.map(Arc::new);
        let life = key.as_ref().and_then(|key| key.valid_for).filter(|life| !life.is_zero());
        let until = asked + life.unwrap_or(REMEMBERED).min(REMEMBERED);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN {
            known.retain(|_, entry| entry.until > asked);
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
        }
        let noted = known.get(prefix).and_then(|entry| entry.noted);
        known.insert(prefix.to_owned(), Known { key: key.clone(), until, noted });
        Ok(key)
    }

    fn fresh(&self, prefix: &str) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(prefix).filter(|entry| entry.until > Instant::now()).cloned()
    }

    /// Nobody waits for this, and nobody hears when it fails.
    fn note_use(&self, prefix: &str, key: &StoredKey) {
        let now = Instant::now();
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(entry) = known.get_mut(prefix) else { return };
            if entry.noted.is_some_and(|noted| now.duration_since(noted) < NOTED_EVERY) {
                return;
            }
            entry.noted = Some(now);
        }
        let (store, id) = (self.store.clone(), key.id);
        tokio::spawn(async move {
            let _ = store.touch(id).await;
        });
    }
}
