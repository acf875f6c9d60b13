//! Counts of what is changed on the way from the server's values to the file's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::super::FidelityCount;
use super::Decoder;

/// What was done to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// It became NULL.
    Nulled,
    /// It became the nearest value that there is.
    Clamped,
    /// It lost its end.
    Truncated,
    /// It stayed as it was where something was asked for.
    Kept,
    /// Nothing, but it is worth knowing.
    Noted,
}

impl Action {
    /// Its name in a fidelity report.
    fn name(self) -> &'static str {
        match self {
            Self::Nulled => "nulled",
            Self::Clamped => "clamped",
            Self::Truncated => "truncated",
            Self::Kept => "kept",
            Self::Noted => "noted",
        }
    }
}

/// How often what was done, and why.
type Counts = BTreeMap<(Action, Cow<'static, str>), u64>;

/// Counts of one builder, shared with whoever reports them.
#[derive(Debug, Default)]
pub(in super::super) struct Counter(Mutex<Counts>);

impl Counter {
    /// One more.
    pub(super) fn add(&self, action: Action, reason: impl Into<Cow<'static, str>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((action, reason.into())).or_default() += 1;
    }

    /// All so far.
    fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The counts of a whole scan, while it runs and after it.
pub(in super::super) struct Fidelity(Vec<(String, Vec<Arc<Counter>>)>);

impl Fidelity {
    /// What this decoder counts, of columns of these names.
    pub(in super::super) fn new(names: &[String], decoder: &Decoder) -> Self {
        let columns = names.iter().cloned().zip(decoder.counters());
        Self(columns.filter(|(_, counters)| !counters.is_empty()).collect())
    }

    /// All so far, by column, action and reason.
    pub(in super::super) fn counts(&self) -> Vec<FidelityCount> {
        let mut all = Vec::new();
        for (column, counters) in &self.0 {
            let mut sums = Counts::new();
            for (what, count) in counters.iter().flat_map(|counter| counter.counts()) {
                *sums.entry(what).or_default() += count;
            }
            all.extend(sums.into_iter().map(|((action, reason), count)| FidelityCount {
                column: column.clone(),
                action: action.name().to_owned(),
                reason: reason.into_owned(),
                count,
            }));
        }
        all
    }
}
