//! What is wrong with rules, and where.

use std::fmt;

use super::table::RuleTable;

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file as a whole.
    File {
        /// Its name.
        file: String,
    },
    /// A line of a file.
    Line {
        /// The file's name.
        file: String,
        /// The line on which the row begins, from 1.
        line: u64,
    },
    /// A row of a database's table.
    Row {
        /// The table.
        table: RuleTable,
        /// The row's key, as people would say it.
        key: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file } => f.write_str(file),
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::Row { table, key } => write!(f, "{table} {key}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{place}: {message}")]
pub struct RuleError {
    /// Where.
    pub place: Place,
    /// What, and what to write instead.
    pub message: String,
}

/// Everything that is wrong with a set of rules, by place. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RuleErrors {
    errors: Vec<RuleError>,
}

impl RuleErrors {
    /// `None` when there is nothing wrong.
    pub(super) fn of(mut errors: Vec<RuleError>) -> Option<Self> {
        errors.sort();
        errors.dedup();
        (!errors.is_empty()).then_some(Self { errors })
    }

    /// The errors, ordered by place.
    pub fn errors(&self) -> &[RuleError] {
        &self.errors
    }
}

impl fmt::Display for RuleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.errors.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}
