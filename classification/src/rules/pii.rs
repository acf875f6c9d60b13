//! `pii.toml` as one of the rules: its text, and what it says.

use super::error::{Place, RuleError};
use super::table::RuleTable;
use crate::pii::PiiRules;

/// The PII rules with the text that they were read from. Equal texts are equal rules.
#[derive(Debug, Clone, Default)]
pub(super) struct PiiText {
    text: String,
    rules: PiiRules,
}

impl PartialEq for PiiText {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl PiiText {
    /// Reads the text; `file` names it in errors, which have their lines.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, Vec<RuleError>> {
        // Some editors put a byte order mark before the text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match PiiRules::parse(file, text) {
            Ok(rules) => Ok(Self { text: text.to_owned(), rules }),
            Err(wrong) => Err(wrong.problems().iter().map(|problem| placed(file, problem)).collect()),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn rules(&self) -> &PiiRules {
        &self.rules
    }
}

/// A problem that says `file:line: what`, or `file: what`.
fn placed(file: &str, problem: &str) -> RuleError {
    let said = problem.strip_prefix(file).unwrap_or(problem);
    let numbered = said.strip_prefix(':').and_then(|said| said.split_once(": "));
    match numbered.and_then(|(line, message)| Some((line.parse().ok()?, message))) {
        Some((line, message)) => {
            RuleError { place: Place::Line { file: file.to_owned(), line }, message: message.to_owned() }
        }
        None => RuleError {
            place: Place::File { file: file.to_owned() },
            message: said.trim_start_matches(": ").to_owned(),
        },
    }
}

/// The row of the table that holds the text, as the database has it.
pub(super) fn row(text: &str) -> serde_json::Value {
    serde_json::json!({ RuleTable::PII_COLUMN: text })
}
