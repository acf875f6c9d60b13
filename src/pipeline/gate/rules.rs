//! What the gate takes from `pii.toml`: which entities are looked for, how sure a finding must be, what is left in its
//! place, and the owners' own patterns. A reader of its own: what it does not know it passes over, since the rules
//! were validated when they were loaded.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use super::detect::Entity;

/// How sure a finding must be where the rules do not say it.
const THRESHOLD: u8 = 50;
/// The largest program that a pattern may compile to, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

#[derive(Deserialize, Default)]
struct File {
    #[serde(default)]
    entities: BTreeMap<String, EntityEntry>,
    #[serde(default)]
    patterns: Vec<PatternEntry>,
}

#[derive(Deserialize)]
struct EntityEntry {
    enabled: Option<bool>,
    threshold: Option<u8>,
    #[serde(default)]
    action: String,
}

#[derive(Deserialize)]
struct PatternEntry {
    name: String,
    regex: String,
    #[serde(default)]
    action: String,
}

/// The rules, as far as they concern a search.
#[derive(Debug, Clone)]
pub(super) struct PiiRules {
    /// What is looked for, with the least score of a finding.
    pub(super) entities: Vec<(Entity, u8)>,
    /// The owners' patterns, by name.
    pub(super) patterns: Vec<(String, Regex)>,
    /// Whether anything leaves its last four characters standing.
    pub(super) masks: bool,
}

impl PiiRules {
    /// Reads the text of a `pii.toml`; an empty one looks for everything that is known.
    ///
    /// # Errors
    /// What is wrong, without the text.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        let file: File = toml::from_str(text).map_err(|_| "the PII rules of the policy cannot be read")?;
        let mut masks = false;
        let mut entities = Vec::new();
        for entity in Entity::ALL {
            let entry = file.entities.get(entity.label());
            if entry.and_then(|entry| entry.enabled).unwrap_or(true) {
                entities.push((entity, entry.and_then(|entry| entry.threshold).unwrap_or(THRESHOLD)));
                masks |= entry.is_some_and(|entry| entry.action == "mask_last4");
            }
        }
        let mut patterns = Vec::new();
        for entry in file.patterns {
            let regex = RegexBuilder::new(&entry.regex)
                .size_limit(LARGEST_PATTERN)
                .build()
                .map_err(|_| "a pattern of the policy's PII rules cannot be compiled")?;
            masks |= entry.action == "mask_last4";
            patterns.push((entry.name, regex));
        }
        Ok(Self { entities, patterns, masks })
    }
}
