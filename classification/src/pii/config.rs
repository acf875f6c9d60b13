//! `pii.toml`: which entities are looked for, how sure a finding must be, what becomes of it, and own patterns.
//!
//! ```toml
//! [entities.PHONE]
//! enabled = true          # default
//! threshold = 60          # 0 to 100; default 50
//! action = "mask_last4"   # redact (default), mask_last4, pseudonym, null
//!
//! [[patterns]]
//! name = "BADGE"
//! regex = "BG-[0-9]{4}"
//! action = "redact"
//! finds = ["BG-1234"]     # each is found as a whole; at least one
//! ignores = ["BG-12"]     # nothing is found in any
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use super::entity::Entity;

/// How sure a finding must be where the rules do not say it.
const THRESHOLD: u8 = 50;

/// The largest program that a pattern may compile to, in bytes: bounds what a hostile or careless one costs.
const LARGEST_PATTERN: usize = 1 << 20;

/// What takes the place of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// The entity's name in angle brackets.
    #[default]
    Redact,
    /// Stars, and the last four characters.
    MaskLast4,
    /// A keyed pseudonym.
    Pseudonym,
    /// The whole value is NULL.
    Null,
}

/// What is done about one entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityRule {
    /// Whether it is looked for.
    pub enabled: bool,
    /// How sure a finding must be to count, from 0 to 100.
    pub threshold: u8,
    /// What takes its place.
    pub action: Treatment,
}

impl Default for EntityRule {
    fn default() -> Self {
        Self { enabled: true, threshold: THRESHOLD, action: Treatment::Redact }
    }
}

/// A pattern of the data's owners.
#[derive(Debug, Clone)]
pub struct Pattern {
    name: String,
    regex: regex::Regex,
    action: Treatment,
}

impl Pattern {
    /// Its name, which takes a finding's place.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What takes a finding's place.
    pub fn action(&self) -> Treatment {
        self.action
    }

    pub(super) fn regex(&self) -> &regex::Regex {
        &self.regex
    }
}

/// The PII rules, validated. The default looks for everything that is known and redacts it.
#[derive(Debug, Clone, Default)]
pub struct PiiRules {
    entities: BTreeMap<Entity, EntityRule>,
    patterns: Vec<Pattern>,
}

/// What is wrong with `pii.toml`: everything, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct PiiRulesError {
    problems: Vec<String>,
}

impl PiiRulesError {
    /// The problems, each with the file's name and what it is about.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    entities: BTreeMap<String, toml::Spanned<EntityText>>,
    #[serde(default)]
    patterns: Vec<toml::Spanned<PatternText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntityText {
    enabled: Option<bool>,
    threshold: Option<u8>,
    action: Option<Treatment>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatternText {
    name: String,
    regex: String,
    #[serde(default)]
    action: Treatment,
    #[serde(default)]
    finds: Vec<String>,
    #[serde(default)]
    ignores: Vec<String>,
}

impl PiiRules {
    /// Reads `pii.toml`, compiles its patterns and runs their tests.
    pub fn parse(file: &str, text: &str) -> Result<Self, PiiRulesError> {
        let line = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let read: File = toml::from_str(text).map_err(|error| {
            let place = error.span().map_or(file.to_owned(), |span| format!("{file}:{}", line(span.start)));
            PiiRulesError { problems: vec![format!("{place}: {}", error.message().trim())] }
        })?;
        let mut problems = Vec::new();
        let mut rules = Self::default();
        for (name, written) in read.entities {
            let place = format!("{file}:{}", line(written.span().start));
            let written = written.into_inner();
            let default = EntityRule::default();
            let rule = EntityRule {
                enabled: written.enabled.unwrap_or(default.enabled),
                threshold: written.threshold.unwrap_or(default.threshold),
                action: written.action.unwrap_or(default.action),
            };
            if rule.threshold > 100 {
                problems.push(format!("{place}: threshold of {name} is {}: write 0 to 100", rule.threshold));
            }
            match name.parse::<Entity>() {
                Ok(entity) if Entity::DETECTED.contains(&entity) => {
                    rules.entities.insert(entity, rule);
                }
                Ok(_) => problems.push(format!("{place}: {name} is known by column names only: classify the column")),
                Err(error) => problems.push(format!("{place}: {error}")),
            }
        }
        for written in read.patterns {
            let place = format!("{file}:{}", line(written.span().start));
            match rules.pattern(written.into_inner()) {
                Ok(pattern) => rules.patterns.push(pattern),
                Err(found) => problems.extend(found.into_iter().map(|problem| format!("{place}: {problem}"))),
            }
        }
        if problems.is_empty() { Ok(rules) } else { Err(PiiRulesError { problems }) }
    }

    /// Compiles a pattern and runs its tests.
    fn pattern(&self, written: PatternText) -> Result<Pattern, Vec<String>> {
        let PatternText { name, regex, action, finds, ignores } = written;
        let word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let mut problems = Vec::new();
        if name.is_empty() || !name.chars().all(word) {
            problems.push(format!("'{name}' is no name for a pattern: write capitals, digits and _"));
        } else if name.parse::<Entity>().is_ok() || self.patterns.iter().any(|pattern| pattern.name == name) {
            problems.push(format!("{name} is the name of something else already"));
        }
        let compiled = regex::RegexBuilder::new(&regex).size_limit(LARGEST_PATTERN).build();
        let regex = match compiled {
            Ok(regex) => regex,
            Err(error) => {
                problems.push(format!("regex of {name}: {error}"));
                return Err(problems);
            }
        };
        if regex.is_match("") {
            problems.push(format!("regex of {name} matches the empty text, so it would be found everywhere"));
        }
        if finds.is_empty() {
            problems.push(format!("{name} has no test: name in `finds` at least one text that it must find"));
        }
        for text in &finds {
            if !regex.find_iter(text).any(|hit| hit.range() == (0..text.len())) {
                problems.push(format!("{name} does not find '{text}' as a whole"));
            }
        }
        for text in &ignores {
            if let Some(hit) = regex.find(text) {
                problems.push(format!("{name} finds '{}' in '{text}', which it must ignore", hit.as_str()));
            }
        }
        if problems.is_empty() { Ok(Pattern { name, regex, action }) } else { Err(problems) }
    }

    /// What is done about an entity.
    pub fn entity(&self, entity: Entity) -> EntityRule {
        self.entities.get(&entity).copied().unwrap_or_default()
    }

    /// These rules with another one for an entity.
    #[must_use]
    pub fn with(mut self, entity: Entity, rule: EntityRule) -> Self {
        self.entities.insert(entity, rule);
        self
    }

    /// The patterns of the data's owners, in their order.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Whether anything becomes a pseudonym, which needs a key.
    pub fn needs_key(&self) -> bool {
        let entities = self.entities.values().any(|rule| rule.enabled && rule.action == Treatment::Pseudonym);
        entities || self.patterns.iter().any(|pattern| pattern.action == Treatment::Pseudonym)
    }
}
