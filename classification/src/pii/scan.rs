//! The scanner: the byte test, the detectors that it asks for, thresholds, and what becomes of overlapping findings.

use super::config::PiiRules;
use super::entity::{Entity, Finding, Kind};
use super::profile::{Wanted, wanted};
use super::{email, iban, network, number, phone, secret, vin};

/// Searches texts for personal data. Cheap to share between threads; one for each set of PII rules.
#[derive(Debug, Clone)]
pub struct Scanner {
    enabled: Wanted,
    thresholds: Vec<u8>,
    own: Vec<regex::Regex>,
}

/// Offsets that do not cut a buffer into texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("offset {position} of the column does not cut its buffer at a character")]
pub struct OffsetsError {
    position: usize,
}

impl OffsetsError {
    pub(crate) fn at(position: usize) -> Self {
        Self { position }
    }
}

/// Positions in a column's buffer, as Arrow has them.
pub trait Offset: Copy {
    /// The position, or one beyond every buffer.
    fn position(self) -> usize;
}

impl Offset for i32 {
    fn position(self) -> usize {
        usize::try_from(self).unwrap_or(usize::MAX)
    }
}

impl Offset for i64 {
    fn position(self) -> usize {
        usize::try_from(self).unwrap_or(usize::MAX)
    }
}

impl Scanner {
    /// A scanner that follows these rules.
    pub fn new(rules: &PiiRules) -> Self {
        let mut enabled = Wanted::none();
        for entity in Entity::DETECTED {
            if rules.entity(entity).enabled {
                enabled = enabled.with(entity);
            }
        }
        Self {
            enabled,
            thresholds: Entity::ALL.iter().map(|entity| rules.entity(*entity).threshold).collect(),
            own: rules.patterns().iter().map(|pattern| pattern.regex().clone()).collect(),
        }
    }

    /// What is found in a text: ordered, apart from each other.
    pub fn scan(&self, text: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        self.scan_into(text, &mut found);
        found
    }

    /// As [`Scanner::scan`], into a list that is emptied first.
    pub fn scan_into(&self, text: &str, found: &mut Vec<Finding>) {
        found.clear();
        self.detect(text, wanted, found);
    }

    /// As [`Scanner::scan`], asking every detector: the slow way, which must find the same.
    pub fn scan_thoroughly(&self, text: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        self.detect(text, |_| Wanted::ALL, &mut found);
        found
    }

    /// Scans a column that lies in one buffer: value `i` is `values[offsets[i]..offsets[i + 1]]`. Calls `each` for
    /// the values in which something was found, in their order.
    pub fn scan_column<O: Offset>(
        &self,
        values: &str,
        offsets: &[O],
        mut each: impl FnMut(usize, &str, &[Finding]),
    ) -> Result<(), OffsetsError> {
        let mut found = Vec::new();
        for (position, pair) in offsets.windows(2).enumerate() {
            let (start, end) = (pair[0].position(), pair[1].position());
            let bytes = values.as_bytes().get(start..end).ok_or(OffsetsError { position })?;
            let test = wanted(bytes).and(self.enabled);
            if test.is_empty() && self.own.is_empty() {
                continue;
            }
            let text = values.get(start..end).ok_or(OffsetsError { position })?;
            found.clear();
            self.detect_once(text, test, &mut found);
            if !found.is_empty() {
                self.between(text, wanted, &mut found, DEEPEST);
            }
            if !found.is_empty() {
                each(position, text, &found);
            }
        }
        Ok(())
    }

    /// Scans a text and then, as long as anything is found, what is left between the findings: a finding may have
    /// hidden another that follows it without a space.
    fn detect(&self, text: &str, wanted: impl Fn(&[u8]) -> Wanted + Copy, found: &mut Vec<Finding>) {
        self.detect_once(text, wanted(text.as_bytes()), found);
        if !found.is_empty() {
            self.between(text, wanted, found, DEEPEST);
        }
    }

    fn between(&self, text: &str, wanted: impl Fn(&[u8]) -> Wanted + Copy, found: &mut Vec<Finding>, depth: usize) {
        let ends = found.iter().map(|finding| finding.start).chain([text.len()]);
        let starts = [0].into_iter().chain(found.iter().map(|finding| finding.end));
        let gaps: Vec<(usize, usize)> = starts.zip(ends).filter(|(start, end)| end - start > 2).collect();
        let mut more = Vec::new();
        let mut inside = Vec::new();
        for (start, end) in gaps {
            let gap = &text[start..end];
            inside.clear();
            self.detect_once(gap, wanted(gap.as_bytes()), &mut inside);
            let Some(first) = inside.first().copied() else { continue };
            if depth == 0 {
                // Findings that hide each other without an end are removed with everything between them.
                more.push(Finding { start, end, ..first });
                continue;
            }
            self.between(gap, wanted, &mut inside, depth - 1);
            more.extend(inside.iter().map(|finding| Finding {
                start: start + finding.start,
                end: start + finding.end,
                ..*finding
            }));
        }
        if !more.is_empty() {
            found.append(&mut more);
            found.sort_by_key(|finding| finding.start);
        }
    }

    fn detect_once(&self, text: &str, wanted: Wanted, found: &mut Vec<Finding>) {
        let wanted = wanted.and(self.enabled);
        for (entity, detector) in DETECTORS {
            if wanted.has(*entity) {
                detector(text, found);
            }
        }
        found.retain(|finding| match finding.kind {
            Kind::Known(entity) => finding.score >= self.thresholds[entity as usize],
            Kind::Own(_) => true,
        });
        for (position, pattern) in self.own.iter().enumerate() {
            let kind = Kind::Own(u16::try_from(position).unwrap_or(u16::MAX));
            found.extend(pattern.find_iter(text).filter(|hit| !hit.is_empty()).map(|hit| Finding {
                kind,
                start: hit.start(),
                end: hit.end(),
                score: 100,
            }));
        }
        if found.len() > 1 {
            resolve(found);
        }
    }
}

/// How often what is left between findings is scanned again.
const DEEPEST: usize = 4;

type Detector = fn(&str, &mut Vec<Finding>);

const DETECTORS: &[(Entity, Detector)] = &[
    (Entity::Jwt, secret::jwts),
    (Entity::CloudKey, secret::keys),
    (Entity::UrlCredentials, secret::url_credentials),
    (Entity::Iban, iban::ibans),
    (Entity::Card, number::cards),
    (Entity::Email, email::emails),
    (Entity::Vin, vin::vins),
    (Entity::UsSsn, number::ssns),
    (Entity::Mac, network::macs),
    (Entity::Ipv6, network::ipv6s),
    (Entity::Ipv4, network::ipv4s),
    (Entity::Phone, phone::phones),
];

/// Makes findings apart: those that overlap become one, as long as all of them together and named after the most
/// specific. So nothing that any detector found is left standing.
fn resolve(found: &mut Vec<Finding>) {
    // `user:secret@host` is no e-mail address: the host may stay.
    let credentials: Vec<(usize, usize)> = found
        .iter()
        .filter(|finding| finding.kind == Kind::Known(Entity::UrlCredentials))
        .map(|finding| (finding.start, finding.end))
        .collect();
    found.retain(|finding| {
        finding.kind != Kind::Known(Entity::Email)
            || !credentials.iter().any(|&(start, end)| start < finding.end && finding.start < end)
    });
    found.sort_by_key(|finding| (finding.start, finding.kind));
    found.dedup_by(|next, kept| {
        let overlap = next.start < kept.end;
        if overlap {
            kept.end = kept.end.max(next.end);
            kept.score = kept.score.max(next.score);
            kept.kind = kept.kind.min(next.kind);
        }
        overlap
    });
}
