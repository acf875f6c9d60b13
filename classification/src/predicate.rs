//! Row conditions: how they combine, and what they say of one row.

use std::collections::BTreeSet;
use std::fmt;

use crate::policy::Predicate;

impl Predicate {
    /// Rows whose column is one of these values; no row if there are none.
    pub fn one_of<T: Into<String>>(column: &str, values: impl IntoIterator<Item = T>) -> Self {
        let values: BTreeSet<String> = values.into_iter().map(Into::into).collect();
        if values.is_empty() { Self::Never } else { Self::In { column: column.to_owned(), values } }
    }

    /// The same condition in its one normal form: flat, sorted, without repetitions and without parts that decide
    /// nothing. An empty `All` is `Always`, an empty `Any` and an empty `In` are `Never`.
    #[must_use]
    pub fn normalised(self) -> Self {
        match self {
            Self::In { values, .. } if values.is_empty() => Self::Never,
            Self::Always | Self::Never | Self::In { .. } => self,
            Self::All(parts) => {
                let mut flat = BTreeSet::new();
                for part in parts {
                    match part.normalised() {
                        Self::Always => {}
                        Self::Never => return Self::Never,
                        Self::All(parts) => flat.extend(parts),
                        part => {
                            flat.insert(part);
                        }
                    }
                }
                Self::joined(flat, Self::All, Self::Always)
            }
            Self::Any(parts) => {
                let mut flat = BTreeSet::new();
                for part in parts {
                    match part.normalised() {
                        Self::Never => {}
                        Self::Always => return Self::Always,
                        Self::Any(parts) => flat.extend(parts),
                        part => {
                            flat.insert(part);
                        }
                    }
                }
                Self::joined(flat, Self::Any, Self::Never)
            }
        }
    }

    fn joined(mut parts: BTreeSet<Self>, join: fn(Vec<Self>) -> Self, empty: Self) -> Self {
        match parts.len() {
            0 => empty,
            1 => parts.pop_first().unwrap_or(empty),
            _ => join(parts.into_iter().collect()),
        }
    }

    /// Whether a row is let through. `value` gives a column of it as text, `None` for NULL: what a warehouse decides
    /// in its query, decided again in the process.
    pub fn admits<'a>(&self, value: &impl Fn(&str) -> Option<&'a str>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::In { column, values } => value(column).is_some_and(|value| values.contains(value)),
            Self::All(parts) => parts.iter().all(|part| part.admits(value)),
            Self::Any(parts) => parts.iter().any(|part| part.admits(value)),
        }
    }

    /// The columns that it asks for.
    pub fn columns(&self) -> BTreeSet<&str> {
        match self {
            Self::Always | Self::Never => BTreeSet::new(),
            Self::In { column, .. } => BTreeSet::from([column.as_str()]),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::columns).collect(),
        }
    }
}

impl fmt::Display for Predicate {
    /// For people, not for a warehouse: nothing is quoted for SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("every row"),
            Self::Never => f.write_str("no row"),
            Self::In { column, values } => {
                write!(f, "{column} in (")?;
                for (position, value) in values.iter().enumerate() {
                    write!(f, "{}'{value}'", if position > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            Self::All(parts) => write_parts(f, parts, " and "),
            Self::Any(parts) => write_parts(f, parts, " or "),
        }
    }
}

fn write_parts(f: &mut fmt::Formatter<'_>, parts: &[Predicate], between: &str) -> fmt::Result {
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            f.write_str(between)?;
        }
        match part {
            Predicate::All(_) | Predicate::Any(_) => write!(f, "({part})")?,
            _ => write!(f, "{part}")?,
        }
    }
    Ok(())
}
