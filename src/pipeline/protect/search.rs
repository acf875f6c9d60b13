//! The search for personal data in a column of text or JSON.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use classification::pii::{Finding, Protected, Protector, Removed};
use std::sync::Arc;

use super::seen::Seen;
use super::text::{TooLong, patch};

/// Searches one column, batch by batch.
#[derive(Debug)]
pub(super) struct Search {
    json: bool,
    clean: Seen,
    found: Vec<Finding>,
    removed: Removed,
}

impl Search {
    /// For a column of text, or of JSON documents.
    pub(super) fn new(json: bool) -> Self {
        Self { json, clean: Seen::default(), found: Vec::new(), removed: Removed::default() }
    }

    /// What was removed so far.
    pub(super) fn removed(&self) -> &Removed {
        &self.removed
    }

    /// Removes what is found. A column in which nothing is found is passed on as it is.
    pub(super) fn run(&mut self, protector: &Protector, array: &ArrayRef) -> Result<ArrayRef, TooLong> {
        let texts: &StringArray = array.as_string();
        let mut changes = Vec::new();
        // Rows mostly come in runs of the same provider, road or kind.
        let mut last = "";
        for row in 0..texts.len() {
            let text = texts.value(row);
            if text == last || text.is_empty() || texts.is_null(row) {
                continue;
            }
            if self.clean.has(text.as_bytes()) {
                last = text;
                continue;
            }
            match self.protect(protector, text) {
                Protected::Unchanged => {
                    self.clean.add(text.as_bytes());
                    last = text;
                }
                Protected::Changed(text) => changes.push((row, Some(text))),
                Protected::Null => changes.push((row, None)),
            }
        }
        if changes.is_empty() { Ok(Arc::clone(array)) } else { Ok(Arc::new(patch(texts, &changes)?)) }
    }

    fn protect(&mut self, protector: &Protector, text: &str) -> Protected {
        if self.json {
            return protector.json(text, &mut self.removed);
        }
        protector.scanner().scan_into(text, &mut self.found);
        protector.replace(text, &self.found, &mut self.removed)
    }
}
