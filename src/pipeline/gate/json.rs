//! The texts inside a JSON document: strings and keys as they are meant, and numbers as they are written.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde::de::IgnoredAny;

/// A string literal or a number. Strings come first, so no number inside one is taken for a leaf.
static TOKEN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#""(?:[^"\\]|\\.)*"|[0-9A-Za-z+.-]+"#).expect("a pattern of the program compiles"));

/// Numbers with fewer characters are no leaves.
const SHORTEST_NUMBER: usize = 9;

/// The texts of a document, keys repeated in one object included. What is no JSON is one text.
pub(super) fn leaves(document: &str) -> Vec<Cow<'_, str>> {
    if serde_json::from_str::<IgnoredAny>(document).is_err() {
        return vec![Cow::Borrowed(document)];
    }
    TOKEN
        .find_iter(document)
        // Literals and short numbers are nobody's.
        .filter(|token| token.as_str().starts_with('"') || token.len() >= SHORTEST_NUMBER)
        .map(|token| match token.as_str().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) if inner.contains('\\') => {
                // Half a surrogate pair is a literal that means no text: its own characters are searched then.
                serde_json::from_str::<String>(token.as_str()).map_or(Cow::Borrowed(inner), Cow::Owned)
            }
            Some(inner) => Cow::Borrowed(inner),
            None => Cow::Borrowed(token.as_str()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_keys_and_numbers_are_leaves() {
        let document = r#"{"a\u0040b": ["x \" y", -12.5000000, true, {"k": "1", "k": null}], "4": "{\"in\": 1}"}"#;
        let found: Vec<String> = leaves(document).into_iter().map(Cow::into_owned).collect();
        assert_eq!(found, ["a@b", "x \" y", "-12.5000000", "k", "1", "k", "4", "{\"in\": 1}"].map(str::to_owned));
        assert_eq!(leaves("no {json").len(), 1);
        assert_eq!(leaves(r#"["\ud800"]"#).len(), 1);
    }
}
