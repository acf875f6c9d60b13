//! Names of warehouse tables, as they stand in the rules and in object keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A table of the warehouse: `schema.table`, or `table` alone for the schema `public`.
///
/// Text is split at the first dot, so a table's own name may contain dots and a schema's may not.
/// Ordered by schema, then name. Serialised as its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName {
    schema: String,
    name: String,
}

/// What keeps a text from being a table's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a table name: write `table` or `schema.table`, neither part empty")]
pub struct TableNameError {
    text: String,
}

impl TableName {
    /// The schema; `public` where none was written.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The table's own name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The element that stands for this table in object keys.
    ///
    /// Its text, percent-encoded outside `[A-Za-z0-9_.-]`. A leading `t=` keeps apart the names that readers of a
    /// folder would take for something else: those that begin with `_`, and `classifications`.
    pub fn key_element(&self) -> String {
        let text = self.to_string();
        let mut key = String::with_capacity(text.len() + 2);
        if text.starts_with('_') || text == "classifications" {
            key.push_str("t=");
        }
        for byte in text.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' => key.push(char::from(byte)),
                other => key.push_str(&format!("%{other:02X}")),
            }
        }
        key
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A dotted name keeps its schema, or the text would be split elsewhere when it is read again.
        if self.schema == "public" && !self.name.contains('.') {
            f.write_str(&self.name)
        } else {
            write!(f, "{}.{}", self.schema, self.name)
        }
    }
}

impl FromStr for TableName {
    type Err = TableNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        if schema.is_empty() || name.is_empty() || text.contains('\0') {
            return Err(TableNameError { text: text.to_owned() });
        }
        Ok(Self { schema: schema.to_owned(), name: name.to_owned() })
    }
}

impl TryFrom<String> for TableName {
    type Error = TableNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TableName> for String {
    fn from(table: TableName) -> Self {
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_key_of_a_table() {
        for (text, schema, name, shown, key) in [
            ("way", "public", "way", "way", "way"),
            ("public.way", "public", "way", "way", "way"),
            ("ops.way", "ops", "way", "ops.way", "ops.way"),
            ("public.a.b", "public", "a.b", "public.a.b", "public.a.b"),
            ("ops.a.b", "ops", "a.b", "ops.a.b", "ops.a.b"),
            ("_hidden", "public", "_hidden", "_hidden", "t=_hidden"),
            ("classifications", "public", "classifications", "classifications", "t=classifications"),
            ("a b/ü", "public", "a b/ü", "a b/ü", "a%20b%2F%C3%BC"),
            ("x/../y", "x/", "./y", "x/../y", "x%2F..%2Fy"),
        ] {
            let table: TableName = text.parse().expect(text);
            assert_eq!((table.schema(), table.name()), (schema, name), "{text}");
            assert_eq!(table.to_string(), shown);
            assert_eq!(table.key_element(), key, "{text}");
        }
    }

    #[test]
    fn what_is_no_table() {
        for text in ["", ".", ".way", "ops.", "a\0b"] {
            assert!(text.parse::<TableName>().is_err(), "{text:?}");
        }
    }
}
