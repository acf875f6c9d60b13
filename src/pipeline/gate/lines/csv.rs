//! CSV (RFC 4180), as the exporter writes it and nothing else: a field that is empty without quotes is NULL.

use std::borrow::Cow;

use memchr::memchr;

/// What makes a spreadsheet take a field for a formula when it begins with it.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// The record has another form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The first field of what is left of a record, `None` for NULL, and what stands behind its comma, `None` at the end.
pub(super) fn field(rest: &str) -> Result<(Option<Cow<'_, str>>, Option<&str>), Malformed> {
    let (value, rest) = match rest.strip_prefix('"') {
        Some(inner) => {
            let (text, rest) = quoted(inner).ok_or(Malformed)?;
            (Some(text), rest)
        }
        None => {
            let end = memchr(b',', rest.as_bytes()).unwrap_or(rest.len());
            let (text, rest) = rest.split_at(end);
            if text.contains(['"', '\r', '\n']) {
                return Err(Malformed);
            }
            ((!text.is_empty()).then_some(Cow::Borrowed(text)), rest)
        }
    };
    match rest.strip_prefix(',') {
        Some(rest) => Ok((value, Some(rest))),
        None if rest.is_empty() => Ok((value, None)),
        None => Err(Malformed),
    }
}

/// What stands before the closing quote, and what stands behind it.
fn quoted(inner: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut from = 0;
    loop {
        let quote = from + memchr(b'"', &inner.as_bytes()[from..])?;
        if inner.as_bytes().get(quote + 1) != Some(&b'"') {
            let (text, rest) = (&inner[..quote], &inner[quote + 1..]);
            let text = if from == 0 { Cow::Borrowed(text) } else { Cow::Owned(text.replace("\"\"", "\"")) };
            return Some((text, rest));
        }
        from = quote + 2;
    }
}

/// What a guarded column says of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Guard<'t> {
    /// It needs none.
    Free(&'t str),
    /// It was guarded; what it is without the guard.
    Guarded(&'t str),
    /// It needs one and has none.
    Missing,
}

/// Takes away the `'` that stands before what a spreadsheet would take for a formula. A text that has such quotes of
/// its own before it gets one more when it is written, so that the first is always the guard.
pub(super) fn unguarded(text: &str) -> Guard<'_> {
    if text.starts_with(FORMULA) {
        return Guard::Missing;
    }
    match text.strip_prefix('\'') {
        Some(rest) if rest.trim_start_matches('\'').starts_with(FORMULA) => Guard::Guarded(rest),
        _ => Guard::Free(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(record: &str) -> Result<Vec<Option<String>>, Malformed> {
        let (mut found, mut left) = (Vec::new(), Some(record));
        while let Some(rest) = left {
            let (value, next) = field(rest)?;
            found.push(value.map(Cow::into_owned));
            left = next;
        }
        Ok(found)
    }

    #[test]
    fn null_is_told_from_the_empty_text() {
        for (record, expected) in [
            ("", vec![None]),
            ("\"\"", vec![Some("")]),
            (",\"\",", vec![None, Some(""), None]),
            ("a,\" b \",\"c\"\"\",\"\"\"\"", vec![Some("a"), Some(" b "), Some("c\""), Some("\"")]),
            ("\"a,b\r\n\",ü", vec![Some("a,b\r\n"), Some("ü")]),
        ] {
            let expected = expected.into_iter().map(|value| value.map(str::to_owned)).collect::<Vec<_>>();
            assert_eq!(fields(record), Ok(expected), "{record}");
        }
        for record in ["\"", "\"a", "\"a\"b", "a\"b", "a\rb", "a\nb", "\"a\" ,b", "\"\"\"", "a,\"b\"\"", "\"a\"\""] {
            assert_eq!(fields(record), Err(Malformed), "{record}");
        }
    }

    #[test]
    fn guards_are_undone() {
        for (text, expected) in [
            ("a", Guard::Free("a")),
            ("", Guard::Free("")),
            ("'", Guard::Free("'")),
            ("'a", Guard::Free("'a")),
            ("'=1", Guard::Guarded("=1")),
            ("'\t", Guard::Guarded("\t")),
            ("''=1", Guard::Guarded("'=1")),
            ("=1", Guard::Missing),
            ("\rx", Guard::Missing),
        ] {
            assert_eq!(unguarded(text), expected, "{text}");
        }
    }
}
