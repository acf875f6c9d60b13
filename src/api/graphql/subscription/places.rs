//! Places that are bounded for each who takes them, and in all, so that one who takes many leaves some to others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is taken.
#[derive(Debug)]
struct Taken<K> {
    of: HashMap<K, usize>,
    all: usize,
}

/// Places of one kind.
#[derive(Debug)]
pub(super) struct Places<K> {
    each: usize,
    all: usize,
    taken: Arc<Mutex<Taken<K>>>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Whoever asks has as many as one may have.
    ForOne,
    /// There are no more for anybody.
    ForAll,
}

/// A place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place<K: Eq + Hash> {
    holder: K,
    taken: Arc<Mutex<Taken<K>>>,
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// At most `each` for one, and `all` together.
    pub(super) fn new(each: usize, all: usize) -> Self {
        Self { each, all, taken: Arc::new(Mutex::new(Taken { of: HashMap::new(), all: 0 })) }
    }

    /// Takes a place, or says at once that there is none.
    pub(super) fn take(&self, holder: K) -> Result<Place<K>, Full> {
        let mut taken = lock(&self.taken);
        if taken.of.get(&holder).is_some_and(|held| *held >= self.each) {
            return Err(Full::ForOne);
        }
        if taken.all >= self.all {
            return Err(Full::ForAll);
        }
        taken.all += 1;
        *taken.of.entry(holder.clone()).or_default() += 1;
        Ok(Place { holder, taken: Arc::clone(&self.taken) })
    }

    /// Whether nobody could take one now.
    pub(super) fn is_full(&self) -> bool {
        lock(&self.taken).all >= self.all
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        if let Some(held) = taken.of.get_mut(&self.holder) {
            *held -= 1;
            // Whoever holds none is forgotten: holders without end take no memory without end.
            if *held == 0 {
                taken.of.remove(&self.holder);
            }
        }
    }
}

fn lock<K>(taken: &Mutex<Taken<K>>) -> MutexGuard<'_, Taken<K>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_share_and_all_together_have_an_end() {
        let places = Places::new(2, 3);
        let first = places.take("a").unwrap();
        let _second = places.take("a").unwrap();
        assert_eq!(places.take("a").unwrap_err(), Full::ForOne);
        assert!(!places.is_full());
        let third = places.take("b").unwrap();
        assert!(places.is_full());
        assert_eq!(places.take("c").unwrap_err(), Full::ForAll);
        assert_eq!(places.take("a").unwrap_err(), Full::ForOne, "what one may mend oneself is said first");
        drop(first);
        assert!(places.take("c").is_ok());
        drop(third);
        let _fourth = places.take("a").unwrap();
        assert_eq!(places.take("a").unwrap_err(), Full::ForOne);
    }

    #[test]
    fn whoever_has_left_is_forgotten() {
        let places = Places::new(1, 10);
        for holder in 0..1_000 {
            drop(places.take(holder).unwrap());
        }
        let taken = lock(&places.taken);
        assert_eq!((taken.of.len(), taken.all), (0, 0));
    }
}
