//! The four classification codes and how they combine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the rules say of a column, a source or a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Code {
    /// No restriction.
    Nr,
    /// Mixed: it depends on the row's source.
    Mx,
    /// Do not export.
    De,
    /// Handle with care: export with a restriction.
    Hwc,
}

impl Code {
    /// The code as the rules write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nr => "nr",
            Self::Mx => "mx",
            Self::De => "de",
            Self::Hwc => "hwc",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is none of the four codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a classification: write nr, mx, de or hwc")]
pub struct CodeError {
    text: String,
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "nr" => Ok(Self::Nr),
            "mx" => Ok(Self::Mx),
            "de" => Ok(Self::De),
            "hwc" => Ok(Self::Hwc),
            _ => Err(CodeError { text: text.to_owned() }),
        }
    }
}
