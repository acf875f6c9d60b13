//! A line of JSONL: one object whose keys are the columns, each once, in their order.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Why a line is none of this table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble<E> {
    /// It is no JSON object.
    Malformed,
    /// Its keys are not the columns.
    Keys,
    /// What [`object`] was given said so.
    Value(E),
}

/// Hands each value of an object to `each`, with the number of its column, as it is written: numbers keep every digit.
pub(super) fn object<'l, E>(
    line: &'l str,
    columns: &[&str],
    each: &mut dyn FnMut(usize, &'l str) -> Result<(), E>,
) -> Result<(), Trouble<E>> {
    let mut trouble = None;
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let walked = Object { columns, each, trouble: &mut trouble }.deserialize(&mut deserializer);
    match (trouble, walked.and_then(|()| deserializer.end())) {
        (Some(trouble), _) => Err(trouble),
        (None, Err(_)) => Err(Trouble::Malformed),
        (None, Ok(())) => Ok(()),
    }
}

struct Object<'a, 'l, E> {
    columns: &'a [&'a str],
    each: &'a mut dyn FnMut(usize, &'l str) -> Result<(), E>,
    /// What stopped the walk, since the library's error cannot hold it.
    trouble: &'a mut Option<Trouble<E>>,
}

impl<'l, E> DeserializeSeed<'l> for Object<'_, 'l, E> {
    type Value = ();

    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'l, E> Visitor<'l> for Object<'_, 'l, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'l>>(self, mut map: A) -> Result<(), A::Error> {
        let mut number = 0;
        while let Some(Key(key)) = map.next_key()? {
            if self.columns.get(number) != Some(&key.as_ref()) {
                *self.trouble = Some(Trouble::Keys);
                return Err(A::Error::custom("another key"));
            }
            let value: &'l RawValue = map.next_value()?;
            if let Err(refusal) = (self.each)(number, value.get()) {
                *self.trouble = Some(Trouble::Value(refusal));
                return Err(A::Error::custom("a refused value"));
            }
            number += 1;
        }
        if number < self.columns.len() {
            *self.trouble = Some(Trouble::Keys);
            return Err(A::Error::custom("a missing key"));
        }
        Ok(())
    }
}

/// A key, copied only where it has escapes.
struct Key<'l>(Cow<'l, str>);

impl<'l> Deserialize<'l> for Key<'l> {
    fn deserialize<D: Deserializer<'l>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfKey;
        impl<'l> Visitor<'l> for OfKey {
            type Value = Key<'l>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<F: Error>(self, text: &'l str) -> Result<Key<'l>, F> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<F: Error>(self, text: &str) -> Result<Key<'l>, F> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(OfKey)
    }
}

/// The text of a JSON string; `None` for any other value, and for one whose escapes mean no text.
pub(super) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_columns_each_once_in_order() {
        let columns = ["a", "b\"", "c"];
        for (line, expected) in [
            (r#"{"a":1,"b\"":"x","c":null}"#, Ok(vec!["1", "\"x\"", "null"])),
            (
                r#"{"a":12345678901234567890.10,"\u0062\u0022": {"k":[1,2]} ,"c":-0}"#,
                Ok(vec!["12345678901234567890.10", r#"{"k":[1,2]}"#, "-0"]),
            ),
            (r#"{"a":1,"c":1,"b\"":1}"#, Err(Trouble::Keys)),
            (r#"{"a":1,"a":1,"b\"":1,"c":1}"#, Err(Trouble::Keys)),
            (r#"{"a":1,"b\"":1,"c":1,"c":1}"#, Err(Trouble::Keys)),
            (r#"{"a":1,"b\"":1,"c":1,"d":1}"#, Err(Trouble::Keys)),
            (r#"{"a":1,"b\"":1}"#, Err(Trouble::Keys)),
            ("{}", Err(Trouble::Keys)),
            (r#"{"a":1,"b\"":1,"c":01}"#, Err(Trouble::Malformed)),
            (r#"{"a":1,"b\"":1,"c":1} {}"#, Err(Trouble::Malformed)),
            (r#"{"a":1,"b\"":1,"c":1"#, Err(Trouble::Malformed)),
            (r#"{"a":1,"b\"":1,"c":"refuse"}"#, Err(Trouble::Value(2))),
            ("[1]", Err(Trouble::Malformed)),
            ("", Err(Trouble::Malformed)),
        ] {
            let mut found = Vec::new();
            let walked = object(line, &columns, &mut |number, value| {
                assert_eq!(number, found.len());
                found.push(value);
                if value == "\"refuse\"" { Err(number) } else { Ok(()) }
            });
            assert_eq!(walked.map(|()| found), expected, "{line}");
        }
        let deep = format!("{{\"a\":{}{},\"b\\\"\":1,\"c\":1}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(object::<()>(&deep, &columns, &mut |_, _| Ok(())), Ok(()), "depth costs no stack");
    }

    #[test]
    fn strings_are_what_they_mean() {
        for (raw, expected) in [
            (r#""a""#, Some("a")),
            (r#""""#, Some("")),
            (r#""a\u0040\n\"""#, Some("a@\n\"")),
            (r#""\ud800""#, None),
            ("1", None),
            ("{\"a\":\"b\"}", None),
        ] {
            assert_eq!(string(raw).as_deref(), expected, "{raw}");
        }
    }
}
