//! What `hwc` does to values: actions, their parameters, the types that they serve, and their work on slices.
//!
//! Slices are what lies inside Arrow arrays; the arrays themselves are somebody else's. Every function here is total:
//! a value that an action cannot make coarser becomes NULL, it is never let through as it is.

mod number;
mod place;
mod pseudonym;
mod sql;
mod text;
mod time;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy::ColumnKind;
use crate::rules::ActionKind;

pub use number::{round_decimal, round_float, round_integer, round_number_text};
pub use place::{network_prefix, round_wkt};
pub use pseudonym::{Domain, KeyTooShort, Pseudonymiser, SHORTEST_KEY, Token};
pub use sql::PseudonymSql;
pub use text::{TextColumn, mask_last4, truncate};
pub use time::{TimePart, trunc_days, trunc_micros};

/// What takes the place of a redacted value.
pub const REDACTED: &str = "<REDACTED>";

/// An action with its parameters, ready to be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The column, or the row of a metric or source, does not leave.
    Drop,
    /// NULL takes the value's place.
    Null,
    /// [`REDACTED`] takes its place.
    Redact,
    /// Stars for all but the last four characters.
    MaskLast4,
    /// A keyed pseudonym: equal values of one domain have equal pseudonyms, so joins survive.
    Pseudonym {
        /// Keeps the pseudonyms of different things apart; columns that are joined share it.
        domain: String,
        /// Whether each day has its own pseudonyms.
        per_day: bool,
    },
    /// Numbers are rounded to so many decimals; negative ones count digits before the point.
    Round {
        /// From -18 to 18.
        decimals: i8,
    },
    /// Times are cut to the beginning of a part.
    DateTrunc {
        /// The part.
        part: TimePart,
    },
    /// Internet addresses are cut to their network.
    NetworkPrefix {
        /// Bits that are kept of an IPv4 address.
        v4: u8,
        /// Bits that are kept of an IPv6 address.
        v6: u8,
    },
    /// Coordinates in well-known text are rounded to so many decimals.
    RoundWkt {
        /// From 0 to 18.
        decimals: u8,
    },
    /// Only the first characters are kept.
    Truncate {
        /// How many.
        length: u32,
    },
}

/// Why a restriction cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The parameters are not those of the action.
    #[error("params of {action}: {problem}")]
    Params {
        /// The action.
        action: ActionKind,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// The column's type is none that the action serves.
    #[error("{action} does not fit a column of type {sql_type}: it serves {serves}")]
    Type {
        /// The action, with its parameters.
        action: String,
        /// The column's type.
        sql_type: String,
        /// The types that it serves.
        serves: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParams {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PseudonymParams {
    domain: String,
    #[serde(default)]
    per: Option<Per>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Per {
    Day,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TruncateParams {
    length: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum GeneraliseParams {
    Round(i8),
    DateTrunc(TimePart),
    NetworkPrefix { v4: u8, v6: u8 },
    Wkt(u8),
}

impl Action {
    /// Reads an action's parameters as `column_restrictions.params` has them:
    ///
    /// - `pseudonym`: `{"domain": "driver"}`, or with `"per": "day"`;
    /// - `generalise`: `{"round": 3}`, `{"date_trunc": "hour"}`, `{"network_prefix": {"v4": 24, "v6": 48}}` or
    ///   `{"wkt": 3}`;
    /// - `truncate`: `{"length": 4}`;
    /// - the others: `{}`.
    pub fn parse(kind: ActionKind, params: &Value) -> Result<Self, ActionError> {
        let wrong = |problem: String| ActionError::Params { action: kind, problem };
        let no_params = |action: Action| {
            NoParams::deserialize(params).map(|NoParams {}| action).map_err(|error| wrong(error.to_string()))
        };
        match kind {
            ActionKind::Drop => no_params(Self::Drop),
            ActionKind::Null => no_params(Self::Null),
            ActionKind::Redact => no_params(Self::Redact),
            ActionKind::MaskLast4 => no_params(Self::MaskLast4),
            ActionKind::Pseudonym => {
                let read = PseudonymParams::deserialize(params).map_err(|error| wrong(error.to_string()))?;
                if read.domain.trim().is_empty() {
                    return Err(wrong("domain is blank: name what is pseudonymised, such as \"driver\"".to_owned()));
                }
                Ok(Self::Pseudonym { domain: read.domain, per_day: matches!(read.per, Some(Per::Day)) })
            }
            ActionKind::Truncate => {
                let read = TruncateParams::deserialize(params).map_err(|error| wrong(error.to_string()))?;
                Ok(Self::Truncate { length: read.length })
            }
            ActionKind::Generalise => generalise(params).map_err(wrong),
        }
    }

    /// Whether the action serves a column of this kind and type.
    pub fn fits(&self, kind: ColumnKind, sql_type: &str) -> Result<(), ActionError> {
        let base = sql_type.split('(').next().unwrap_or(sql_type).trim().to_ascii_lowercase();
        let integer = matches!(base.as_str(), "smallint" | "integer" | "bigint" | "int2" | "int4" | "int8" | "oid");
        let (fits, serves) = match self {
            Self::Drop | Self::Null => (true, "every type"),
            Self::Redact => (matches!(kind, ColumnKind::Text | ColumnKind::Enum), "text"),
            Self::MaskLast4 | Self::Truncate { .. } => (kind == ColumnKind::Text, "text"),
            Self::Pseudonym { .. } => (
                matches!(kind, ColumnKind::Text | ColumnKind::Uuid) || matches!(base.as_str(), "bigint" | "int8"),
                "text, uuid and bigint",
            ),
            Self::Round { decimals } if integer => (*decimals < 0, "integers with less than 0 decimals"),
            Self::Round { .. } => (kind == ColumnKind::Number, "numbers"),
            Self::DateTrunc { part } => match base.as_str() {
                "date" => (part.is_days(), "dates with day, week, month, quarter and year"),
                "time" | "time without time zone" | "time with time zone" | "timetz" => (false, "timestamps and dates"),
                _ => (kind == ColumnKind::Time, "timestamps and dates"),
            },
            Self::NetworkPrefix { .. } => {
                (kind == ColumnKind::Text || matches!(base.as_str(), "inet" | "cidr"), "inet, cidr and text")
            }
            Self::RoundWkt { .. } => (kind == ColumnKind::Text, "well-known text"),
        };
        if fits {
            Ok(())
        } else {
            Err(ActionError::Type { action: self.to_string(), sql_type: sql_type.to_owned(), serves })
        }
    }
}

fn generalise(params: &Value) -> Result<Action, String> {
    match GeneraliseParams::deserialize(params).map_err(|error| error.to_string())? {
        GeneraliseParams::Round(decimals) if !(-18..=18).contains(&decimals) => {
            Err(format!("round is {decimals}: write -18 to 18"))
        }
        GeneraliseParams::Round(decimals) => Ok(Action::Round { decimals }),
        GeneraliseParams::DateTrunc(part) => Ok(Action::DateTrunc { part }),
        GeneraliseParams::NetworkPrefix { v4, v6 } if v4 > 32 || v6 > 128 => {
            Err(format!("network_prefix is {v4} and {v6}: write at most 32 for v4 and 128 for v6"))
        }
        GeneraliseParams::NetworkPrefix { v4, v6 } => Ok(Action::NetworkPrefix { v4, v6 }),
        GeneraliseParams::Wkt(decimals) if decimals > 18 => Err(format!("wkt is {decimals}: write 0 to 18")),
        GeneraliseParams::Wkt(decimals) => Ok(Action::RoundWkt { decimals }),
    }
}

impl fmt::Display for Action {
    /// The action as decisions name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => f.write_str("drop"),
            Self::Null => f.write_str("null"),
            Self::Redact => f.write_str("redact"),
            Self::MaskLast4 => f.write_str("mask_last4"),
            Self::Pseudonym { domain, per_day: false } => write!(f, "pseudonym in '{domain}'"),
            Self::Pseudonym { domain, per_day: true } => write!(f, "pseudonym in '{domain}' for each day"),
            Self::Round { decimals } => write!(f, "generalise: round to {decimals} decimals"),
            Self::DateTrunc { part } => write!(f, "generalise: cut to the {part}"),
            Self::NetworkPrefix { v4, v6 } => write!(f, "generalise: network of {v4} or {v6} bits"),
            Self::RoundWkt { decimals } => write!(f, "generalise: coordinates to {decimals} decimals"),
            Self::Truncate { length } => write!(f, "truncate to {length} characters"),
        }
    }
}
