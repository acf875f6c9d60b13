//! Searches values for personal data. Values are laid out line by line in one block, and the necessary condition of
//! each entity runs over the block as a whole; only the values that meet one are looked at by themselves.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use regex::bytes::{Regex as BytesRegex, RegexBuilder};

use super::detect::{Entity, Hit, OTHER_LABELS};
use super::json::leaves;
use super::rules::PiiRules;

/// A block is searched when it has grown to so many bytes.
const BLOCK: usize = 128 << 10;
/// What ends a value in a block. No necessary condition matches it.
const END: u8 = b'\n';

/// What is looked for, as a policy's PII rules say it. Cheap to share.
#[derive(Debug)]
pub struct Search {
    entities: Vec<Looked>,
    own: Vec<(String, Regex)>,
    /// Every necessary condition in one: what most values do not meet, in a single pass.
    any: BytesRegex,
    /// That, or an escape, behind which anything may stand.
    any_in_json: BytesRegex,
    masked: Option<Regex>,
    placeholder: Regex,
    labels: BTreeSet<String>,
}

#[derive(Debug)]
struct Looked {
    entity: Entity,
    threshold: u8,
    need: BytesRegex,
}

/// What a search has seen and found. Never a value.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    /// Values that were looked at.
    pub values: u64,
    /// Values that hold something, by the name of the entity or pattern.
    pub labels: BTreeMap<String, u64>,
}

impl Search {
    /// A search by the text of a `pii.toml`.
    ///
    /// # Errors
    /// What is wrong with the text, without quoting it.
    pub fn new(pii_rules: &str) -> Result<Self, &'static str> {
        let rules = PiiRules::read(pii_rules)?;
        let entities = rules
            .entities
            .into_iter()
            .map(|(entity, threshold)| Ok(Looked { entity, threshold, need: need(entity.need())? }))
            .collect::<Result<Vec<Looked>, &'static str>>()?;
        let any: Vec<&str> = entities.iter().map(|looked| looked.entity.need()).collect();
        let any = if any.is_empty() { "[0-9&&[a-z]]".to_owned() } else { any.join("|") };
        let pattern = |text: &str| Regex::new(text).map_err(|_| "a pattern of the program does not compile");
        let known = Entity::ALL.iter().map(|entity| entity.label()).chain(OTHER_LABELS.iter().copied());
        Ok(Self {
            entities,
            any: need(&any)?,
            any_in_json: need(&format!(r"\\|{any}"))?,
            masked: if rules.masks { Some(pattern(r"[*]+[^*]{0,4}")?) } else { None },
            placeholder: pattern("<([0-9A-Z_]{1,64})(?::[0-9a-z]{1,64})?>")?,
            labels: known.map(str::to_owned).chain(rules.patterns.iter().map(|(name, _)| name.clone())).collect(),
            own: rules.patterns,
        })
    }

    /// What one text holds: names of entities and patterns.
    pub fn text(&self, text: &str) -> BTreeSet<&str> {
        let entities = self.entities.iter().filter(|looked| self.holds(looked, text));
        entities.map(|looked| looked.entity.label()).chain(self.own(text)).collect()
    }

    /// What one JSON document holds, in its strings, keys and numbers.
    pub fn document(&self, document: &str) -> BTreeSet<&str> {
        leaves(document).iter().flat_map(|leaf| self.text(leaf)).collect()
    }

    fn holds(&self, looked: &Looked, text: &str) -> bool {
        let mut hits = Vec::new();
        looked.entity.find(text, &mut hits);
        hits.retain(|hit| hit.2 >= looked.threshold);
        !hits.is_empty() && !self.left_by_removal(text, &hits)
    }

    fn own<'s>(&'s self, text: &str) -> impl Iterator<Item = &'s str> {
        self.own.iter().filter_map(move |(name, regex)| {
            let found = regex.find_iter(text).filter(|found| !found.is_empty());
            let hits: Vec<Hit> = found.map(|found| (found.start(), found.end(), 100)).collect();
            (!hits.is_empty() && !self.left_by_removal(text, &hits)).then_some(name.as_str())
        })
    }

    /// Whether every hit lies on what removal has put there: a name in angle brackets, or stars with what they leave.
    fn left_by_removal(&self, text: &str, hits: &[Hit]) -> bool {
        let named = |name: &str| self.labels.contains(name);
        let placeholders = self.placeholder.captures_iter(text).filter_map(|found| {
            let whole = found.get(0)?;
            named(found.get(1)?.as_str()).then(|| (whole.start(), whole.end()))
        });
        let masked = self.masked.iter().flat_map(|masked| masked.find_iter(text)).map(|m| (m.start(), m.end()));
        let left: Vec<(usize, usize)> = placeholders.chain(masked).collect();
        hits.iter().all(|hit| left.iter().any(|(start, end)| *start < hit.1 && hit.0 < *end))
    }
}

fn need(text: &str) -> Result<BytesRegex, &'static str> {
    RegexBuilder::new(text).unicode(false).build().map_err(|_| "a pattern of the program does not compile")
}

/// The values of one column on their way through a search.
#[derive(Debug)]
pub struct Column<'s> {
    search: &'s Search,
    json: bool,
    block: Vec<u8>,
    /// Where each value of the block ends.
    ends: Vec<usize>,
    found: Found,
}

impl<'s> Column<'s> {
    /// Of a column of JSON documents, or of texts.
    pub fn new(search: &'s Search, json: bool) -> Self {
        Self { search, json, block: Vec::new(), ends: Vec::new(), found: Found::default() }
    }

    /// Adds values.
    pub fn push<'v>(&mut self, values: impl Iterator<Item = &'v str>) {
        for value in values {
            self.block.extend_from_slice(value.as_bytes());
            self.ends.push(self.block.len());
            self.block.push(END);
            if self.block.len() >= BLOCK {
                self.flush();
            }
        }
    }

    /// What was found in all values.
    pub fn finish(mut self) -> Found {
        self.flush();
        self.found
    }

    fn flush(&mut self) {
        let mut seen: BTreeSet<(usize, &str)> = BTreeSet::new();
        for index in self.meet() {
            let value = self.value(index);
            // Behind an escape no condition sees what is meant, so such a document is looked at by every detector.
            let hidden = self.json && value.contains('\\');
            let texts = if self.json { leaves(value) } else { vec![Cow::Borrowed(value)] };
            for looked in &self.search.entities {
                let holds = |text: &Cow<'_, str>| self.search.holds(looked, text);
                if (hidden || looked.need.is_match(value.as_bytes())) && texts.iter().any(holds) {
                    seen.insert((index, looked.entity.label()));
                }
            }
        }
        if !self.search.own.is_empty() {
            for index in 0..self.ends.len() {
                if self.json {
                    let found = leaves(self.value(index));
                    seen.extend(found.iter().flat_map(|leaf| self.search.own(leaf)).map(|label| (index, label)));
                } else {
                    seen.extend(self.search.own(self.value(index)).map(|label| (index, label)));
                }
            }
        }
        for (_, label) in seen {
            *self.found.labels.entry(label.to_owned()).or_default() += 1;
        }
        self.found.values += self.ends.len() as u64;
        self.block.clear();
        self.ends.clear();
    }

    /// The values that are worth a look, each once.
    fn meet(&self) -> Vec<usize> {
        let any = if self.json { &self.search.any_in_json } else { &self.search.any };
        let mut met = Vec::new();
        let mut from = 0;
        while let Some(end) = any.shortest_match_at(&self.block, from) {
            let index = self.ends.partition_point(|value| *value < end);
            met.push(index);
            match self.ends.get(index) {
                Some(end) => from = end + 1,
                None => break,
            }
        }
        met
    }

    fn value(&self, index: usize) -> &str {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| end + 1);
        let end = self.ends.get(index).copied().unwrap_or(start);
        // Texts went in, and were cut where they were joined.
        std::str::from_utf8(&self.block[start..end]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_end_with_a_value() {
        let search = Search::new("").unwrap();
        for looked in &search.entities {
            assert!(!looked.need.is_match(b"") && !looked.need.is_match(b"\n"), "{:?}", looked.entity);
        }
        // What the end of one value and the beginning of the next would make together is nobody's.
        let mut column = Column::new(&search, false);
        column.push(
            ["jane@", "example.com", "4111 1111", "1111 1111", "192.0.", "2.1", "", "+", "4930123456"].into_iter(),
        );
        let found = column.finish();
        assert_eq!((found.values, found.labels), (9, BTreeMap::new()));
    }

    #[test]
    fn values_are_counted_once_for_each_entity() {
        let search = Search::new("").unwrap();
        let mut column = Column::new(&search, false);
        column.push(["a@b.de c@d.de", "clean", "e@f.de at 192.0.2.1"].into_iter());
        let counted = BTreeMap::from([("EMAIL".to_owned(), 2), ("IPV4".to_owned(), 1)]);
        assert_eq!(column.finish(), Found { values: 3, labels: counted });
    }
}
