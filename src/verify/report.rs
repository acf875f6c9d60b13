//! What a verification has found, check by check. Names of files and columns, and counts; never a value.

use std::collections::BTreeMap;

/// Findings of one check that are kept; the others are counted.
const MOST_FINDINGS: usize = 50;

/// What is checked, in the order in which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckKind {
    /// It is a manifest of this program, and makes sense.
    Manifest,
    /// Every file that it lists is there.
    Files,
    /// No data file is there that it does not list.
    Unlisted,
    /// Bytes of each file.
    Size,
    /// SHA-256 of each file.
    Sha256,
    /// Rows of each file: by its footer, and counted.
    Rows,
    /// Sums over all files.
    Totals,
    /// Names and types of columns.
    Schema,
    /// Each file can be read as what it is said to be.
    Content,
    /// The time of every row.
    Window,
    /// The policy that files name.
    Policy,
    /// Personal data in the texts that were searched for it.
    PersonalData,
}

impl CheckKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Manifest,
        Self::Files,
        Self::Unlisted,
        Self::Size,
        Self::Sha256,
        Self::Rows,
        Self::Totals,
        Self::Schema,
        Self::Content,
        Self::Window,
        Self::Policy,
        Self::PersonalData,
    ];

    /// Its name, stable for machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Files => "files",
            Self::Unlisted => "unlisted",
            Self::Size => "size",
            Self::Sha256 => "sha256",
            Self::Rows => "rows",
            Self::Totals => "totals",
            Self::Schema => "schema",
            Self::Content => "content",
            Self::Window => "window",
            Self::Policy => "policy",
            Self::PersonalData => "personal-data",
        }
    }
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All is as it should be.
    Right,
    /// Something should be looked at.
    Warning,
    /// Something is not as it should be.
    Wrong,
    /// It could not be found out.
    Unchecked,
}

impl Verdict {
    /// Its name, stable for machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
            Self::Unchecked => "unchecked",
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file; `None` for the manifest itself.
    pub file: Option<String>,
    /// What it is, in words that follow the file's name.
    pub what: String,
}

/// One check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// Files, or sums, that were looked at.
    pub looked_at: u64,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: u64,
    /// Why something was not looked at.
    pub unchecked: Option<String>,
}

/// All checks of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The export, in a few words.
    pub about: String,
    /// Rows that were read.
    pub rows: u64,
    /// Bytes that were read.
    pub bytes: u64,
    checks: BTreeMap<CheckKind, Check>,
}

impl Report {
    /// Every check, with how it went.
    pub fn checks(&self) -> impl Iterator<Item = (CheckKind, Verdict, Check)> {
        CheckKind::ALL.into_iter().map(|kind| {
            let check = self.checks.get(&kind).cloned().unwrap_or_default();
            let verdict = match () {
                () if !check.findings.is_empty() && kind == CheckKind::Unlisted => Verdict::Warning,
                () if !check.findings.is_empty() => Verdict::Wrong,
                () if check.unchecked.is_some() || check.looked_at == 0 => Verdict::Unchecked,
                () => Verdict::Right,
            };
            (kind, verdict, check)
        })
    }

    /// Whether nothing is wrong.
    pub fn right(&self) -> bool {
        self.checks().all(|(_, verdict, _)| verdict != Verdict::Wrong)
    }

    pub(super) fn checked(&mut self, kind: CheckKind, looked_at: u64) {
        self.checks.entry(kind).or_default().looked_at += looked_at;
    }

    pub(super) fn unchecked(&mut self, kind: CheckKind, why: impl Into<String>) {
        self.checks.entry(kind).or_default().unchecked.get_or_insert(why.into());
    }

    pub(super) fn wrong(&mut self, kind: CheckKind, file: Option<&str>, what: impl Into<String>) {
        let check = self.checks.entry(kind).or_default();
        if check.findings.len() < MOST_FINDINGS {
            check.findings.push(Finding { file: file.map(printable), what: printable(&what.into()) });
        } else {
            check.more += 1;
        }
    }
}

/// A text without what a terminal obeys: names come from outside.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_direction(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Characters that turn the direction of what is shown behind them.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
