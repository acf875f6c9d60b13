//! Actions on text, value by value and on a whole column in one buffer.

use std::borrow::Cow;

use super::pseudonym::Pseudonymiser;
use super::{Action, REDACTED, network_prefix, round_wkt};
use crate::pii::{Offset, OffsetsError};

/// How many characters are left of a masked value.
const SHOWN: usize = 4;

/// Stars for all characters but the last four; for all of them where there are no more than four.
pub fn mask_last4(text: &str) -> String {
    let count = text.chars().count();
    let hidden = if count > SHOWN { count - SHOWN } else { count };
    text.chars().enumerate().map(|(position, c)| if position < hidden { '*' } else { c }).collect()
}

/// The first characters of a text.
pub fn truncate(text: &str, length: u32) -> &str {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    text.char_indices().nth(length).map_or(text, |(end, _)| &text[..end])
}

/// A column of text in one buffer: value `i` is `values[offsets[i]..offsets[i + 1]]`, or NULL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextColumn {
    /// The values, one behind the other.
    pub values: String,
    /// Where each begins, and where the last ends.
    pub offsets: Vec<usize>,
    /// Which of them are there.
    pub valid: Vec<bool>,
}

impl TextColumn {
    /// Makes a column from another by changing each value that is there; `None` makes it NULL.
    pub fn map<O: Offset>(
        values: &str,
        offsets: &[O],
        is_valid: impl Fn(usize) -> bool,
        mut change: impl FnMut(&str) -> Option<Cow<'_, str>>,
    ) -> Result<Self, OffsetsError> {
        let rows = offsets.len().saturating_sub(1);
        let mut column = Self {
            values: String::with_capacity(values.len()),
            offsets: Vec::with_capacity(rows + 1),
            valid: Vec::with_capacity(rows),
        };
        column.offsets.push(0);
        for (row, pair) in offsets.windows(2).enumerate() {
            let text = values.get(pair[0].position()..pair[1].position()).ok_or(OffsetsError::at(row))?;
            let changed = if is_valid(row) { change(text) } else { None };
            column.valid.push(changed.is_some());
            column.values.push_str(changed.as_deref().unwrap_or_default());
            column.offsets.push(column.values.len());
        }
        Ok(column)
    }
}

impl Action {
    /// What becomes of a text: `None` is NULL. `day` is the row's day, for pseudonyms that change daily. Actions that
    /// are not for text, and pseudonyms without a key or a day that they need, give NULL.
    pub fn on_text<'a>(
        &self,
        text: &'a str,
        pseudonyms: Option<&Pseudonymiser>,
        day: Option<&str>,
    ) -> Option<Cow<'a, str>> {
        match self {
            Self::Redact => Some(Cow::Borrowed(REDACTED)),
            Self::MaskLast4 => Some(Cow::Owned(mask_last4(text))),
            Self::Truncate { length } => Some(Cow::Borrowed(truncate(text, *length))),
            Self::NetworkPrefix { v4, v6 } => network_prefix(text, *v4, *v6).map(Cow::Owned),
            Self::RoundWkt { decimals } => round_wkt(text, *decimals).map(Cow::Owned),
            Self::Pseudonym { domain, per_day } => {
                let day = if *per_day { Some(day?) } else { None };
                Some(Cow::Owned(pseudonyms?.hex(domain, day, text.as_bytes())))
            }
            Self::Drop | Self::Null | Self::Round { .. } | Self::DateTrunc { .. } => None,
        }
    }
}
