//! What takes the place of findings, in plain text.

use std::collections::BTreeMap;

use super::config::{PiiRules, Treatment};
use super::entity::{Entity, Finding, Kind};
use super::scan::Scanner;
use crate::actions::{Pseudonymiser, mask_last4};

/// How much was removed, by entity or pattern. Never what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    counts: BTreeMap<String, u64>,
}

impl Removed {
    /// Adds what was removed elsewhere.
    pub fn add(&mut self, other: &Removed) {
        for (label, count) in &other.counts {
            *self.counts.entry(label.clone()).or_default() += count;
        }
    }

    /// The counts, by label.
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// Whether nothing was removed.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    fn count(&mut self, label: &str) {
        match self.counts.get_mut(label) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(label.to_owned(), 1);
            }
        }
    }
}

/// What became of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protected {
    /// Nothing was found: the value leaves as it is.
    Unchanged,
    /// This leaves in its place.
    Changed(String),
    /// NULL leaves in its place.
    Null,
}

/// A scanner together with what becomes of its findings.
#[derive(Debug, Clone)]
pub struct Protector {
    scanner: Scanner,
    rules: PiiRules,
    pseudonyms: Option<Pseudonymiser>,
}

/// The rules ask for pseudonyms, and there is no key for them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the PII rules ask for pseudonyms, which need a key: set EXPORTER_PSEUDONYM_KEY_FILE or choose another action")]
pub struct KeyMissing;

impl Protector {
    /// A protector that follows these rules.
    pub fn new(rules: PiiRules, pseudonyms: Option<Pseudonymiser>) -> Result<Self, KeyMissing> {
        if rules.needs_key() && pseudonyms.is_none() {
            return Err(KeyMissing);
        }
        Ok(Self { scanner: Scanner::new(&rules), rules, pseudonyms })
    }

    /// Its scanner.
    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// Removes personal data from a text.
    pub fn text(&self, text: &str, removed: &mut Removed) -> Protected {
        self.replace(text, &self.scanner.scan(text), removed)
    }

    /// Puts something else in the place of findings that the scanner made in this text.
    pub fn replace(&self, text: &str, findings: &[Finding], removed: &mut Removed) -> Protected {
        if findings.is_empty() {
            return Protected::Unchanged;
        }
        for finding in findings {
            removed.count(self.label(finding.kind));
        }
        let mut changed = String::with_capacity(text.len());
        let mut behind = 0;
        for finding in findings {
            changed.push_str(&text[behind..finding.start]);
            match self.instead(finding.kind, &text[finding.start..finding.end]) {
                Some(instead) => changed.push_str(&instead),
                None => return Protected::Null,
            }
            behind = finding.end;
        }
        changed.push_str(&text[behind..]);
        Protected::Changed(changed)
    }

    /// The whole of a value that is known by its name to be this.
    pub(super) fn whole(&self, entity: Entity, text: &str, removed: &mut Removed) -> Option<String> {
        removed.count(entity.label());
        self.instead(Kind::Known(entity), text)
    }

    fn label(&self, kind: Kind) -> &str {
        match kind {
            Kind::Known(entity) => entity.label(),
            Kind::Own(position) => self.rules.patterns().get(usize::from(position)).map_or("OWN", |own| own.name()),
        }
    }

    /// What stands in a finding's place; `None` for NULL.
    fn instead(&self, kind: Kind, found: &str) -> Option<String> {
        let label = self.label(kind);
        let action = match kind {
            Kind::Known(entity) => self.rules.entity(entity).action,
            Kind::Own(position) => {
                self.rules.patterns().get(usize::from(position)).map_or(Treatment::Redact, |own| own.action())
            }
        };
        match (action, &self.pseudonyms) {
            (Treatment::Null, _) => None,
            (Treatment::MaskLast4, _) => Some(mask_last4(found)),
            (Treatment::Pseudonym, Some(pseudonyms)) => Some(format!("<{label}:{}>", pseudonyms.word(label, found))),
            (Treatment::Redact, _) | (Treatment::Pseudonym, None) => Some(format!("<{label}>")),
        }
    }
}
