//! What a column's manifest type lets its values look like in lines.

use std::borrow::Cow;

use classification::{ColumnKind, PolicyColumn};

use super::super::geometry::is_wkb;
use super::jsonl;
use crate::warehouse::{ColumnOptions, GeometryForm};

/// The form of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline::gate) enum Form {
    /// Digits, within these bounds.
    Integer(i64, i64),
    Float,
    /// Digits with so many places after the point; at most so many altogether.
    Decimal {
        precision: usize,
        scale: usize,
    },
    /// A number of any length, which travels as text.
    NumberText,
    Boolean,
    Timestamp {
        zone: bool,
    },
    Date,
    /// A time of day.
    Time,
    Uuid,
    /// Hex.
    Bytes,
    /// Hex of well-known binary, in the place of text that would be searched.
    Geometry,
    Text,
    /// A JSON document, or a value of a type that has none of the forms above.
    Json,
}

/// The numbers that JSON does not have.
const NO_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

impl Form {
    /// Of a column with these options and this type in the words of a manifest.
    pub(super) fn of(column: &PolicyColumn, manifest_type: &str, options: Option<&ColumnOptions>) -> Self {
        let geometry = options.and_then(|options| options.geometry);
        match manifest_type {
            "smallint" => Self::Integer(i16::MIN.into(), i16::MAX.into()),
            "integer" => Self::Integer(i32::MIN.into(), i32::MAX.into()),
            "bigint" => Self::Integer(i64::MIN, i64::MAX),
            "real" | "double precision" => Self::Float,
            "boolean" => Self::Boolean,
            "timestamp with time zone" => Self::Timestamp { zone: true },
            "timestamp without time zone" => Self::Timestamp { zone: false },
            "date" => Self::Date,
            "time without time zone" => Self::Time,
            "binary varying" if column.kind == ColumnKind::Uuid => Self::Uuid,
            "binary varying" if column.scan && geometry == Some(GeometryForm::Wkb) => Self::Geometry,
            "binary varying" => Self::Bytes,
            "character varying" if column.kind == ColumnKind::Json => Self::Json,
            "character varying" if column.kind == ColumnKind::Number => Self::NumberText,
            "character varying" => Self::Text,
            other => decimal_type(other).unwrap_or(Self::Json),
        }
    }

    /// What is wrong with a value that is not one: it is "no integer".
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Integer(..) => "integer of its type",
            Self::Float | Self::NumberText => "number",
            Self::Decimal { .. } => "decimal of its type",
            Self::Boolean => "boolean",
            Self::Timestamp { .. } => "timestamp",
            Self::Date => "date",
            Self::Time => "time of day",
            Self::Uuid => "UUID",
            Self::Geometry => "geometry",
            Self::Bytes => "hex",
            Self::Text => "text",
            Self::Json => "JSON",
        }
    }

    /// Whether a text is one of its values.
    pub(super) fn admits(self, text: &str) -> bool {
        match self {
            Self::Integer(least, most) => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                !digits.starts_with('+') && text.parse().is_ok_and(|value: i64| (least..=most).contains(&value))
            }
            Self::Float => {
                let number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
                NO_NUMBERS.contains(&text) || text.bytes().all(number) && text.parse::<f64>().is_ok()
            }
            Self::Decimal { precision, scale } => decimal(text).is_some_and(|(whole, places)| {
                places == scale && whole.trim_start_matches('0').len() + places <= precision
            }),
            Self::NumberText => NO_NUMBERS.contains(&text) || decimal(text).is_some(),
            Self::Boolean => matches!(text, "true" | "false"),
            Self::Timestamp { zone } => {
                let text = if zone { text.strip_suffix('Z') } else { Some(text) };
                text.and_then(|text| text.split_once('T')).is_some_and(|(day, clock)| date(day) && time(clock))
            }
            Self::Date => date(text),
            Self::Time => time(text),
            Self::Uuid => {
                let hyphens =
                    text.bytes().enumerate().all(|(at, byte)| (byte == b'-') == matches!(at, 8 | 13 | 18 | 23));
                text.len() == 36 && hyphens && text.bytes().all(|byte| byte == b'-' || digit(byte).is_some())
            }
            Self::Bytes => bytes(text).is_some(),
            Self::Geometry => bytes(text).is_some_and(|bytes| is_wkb(&bytes)),
            Self::Text | Self::Json => true,
        }
    }

    /// The text of a value of JSONL, not null: numbers and documents as they are written, the others out of their
    /// quotes. `None` for a value of another kind than the form has.
    pub(super) fn of_json(self, raw: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Json => Some(Cow::Borrowed(raw)),
            Self::Integer(..) | Self::Boolean => (!raw.starts_with('"')).then_some(Cow::Borrowed(raw)),
            Self::Float if raw.starts_with('"') => {
                jsonl::string(raw).filter(|text| NO_NUMBERS.contains(&text.as_ref()))
            }
            Self::Float => Some(Cow::Borrowed(raw)),
            _ => jsonl::string(raw),
        }
    }
}

/// The value of a digit of hex, in the one case that is written.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// What hex stands for.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let pairs = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { pairs.collect() } else { None }
}

/// `numeric(10,2)`.
fn decimal_type(name: &str) -> Option<Form> {
    let (precision, scale) = name.strip_prefix("numeric(")?.strip_suffix(')')?.split_once(',')?;
    Some(Form::Decimal { precision: precision.parse().ok()?, scale: scale.parse().ok()? })
}

/// The digits before the point, and how many stand behind it.
fn decimal(text: &str) -> Option<(&str, usize)> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, places) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!whole.is_empty() && digits(whole) && digits(places)).then_some((whole, places.len()))
}

/// A number of these digits between two bounds.
fn within(digits: &[u8], least: u8, most: u8) -> bool {
    let [tens, ones] = digits else { return false };
    digits.iter().all(u8::is_ascii_digit) && (least..=most).contains(&((tens - b'0') * 10 + (ones - b'0')))
}

/// `YYYY-MM-DD`, with a sign where the year has more or other than four digits.
fn date(text: &str) -> bool {
    let (year, rest) = match text.as_bytes().split_last_chunk::<6>() {
        Some((year, [b'-', month @ .., b'-', tens, ones])) => (year, (month, [*tens, *ones])),
        _ => return false,
    };
    let digits = year.strip_prefix(b"-").or(year.strip_prefix(b"+")).unwrap_or(year);
    let (month, day) = rest;
    (4..=7).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && within(month, 1, 12)
        && within(&day, 1, 31)
}

/// `HH:MM:SS.ffffff`.
fn time(text: &str) -> bool {
    match text.as_bytes() {
        [h1, h2, b':', m1, m2, b':', s1, s2, b'.', micros @ ..] => {
            within(&[*h1, *h2], 0, 23)
                && within(&[*m1, *m2], 0, 59)
                && within(&[*s1, *s2], 0, 59)
                && micros.len() == 6
                && micros.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use classification::Predicate;

    use super::*;

    fn form(kind: ColumnKind, manifest_type: &str) -> Form {
        let column = PolicyColumn {
            name: "v".to_owned(),
            sql_type: String::new(),
            kind,
            cell: Predicate::Always,
            care: Vec::new(),
            scan: false,
        };
        Form::of(&column, manifest_type, None)
    }

    #[test]
    fn values_of_each_type_and_others() {
        use ColumnKind as K;
        for (kind, manifest_type, good, bad) in [
            (K::Number, "smallint", &["0", "-32768", "32767"][..], &["32768", "+1", "1.0", "", "1e2", "x", "--1"][..]),
            (K::Number, "integer", &["2147483647"], &["2147483648"]),
            (K::Number, "bigint", &["-9223372036854775808"], &["9223372036854775808", " 1"]),
            (K::Number, "real", &["0.1", "-0", "3.4028235e38", "NaN", "-Infinity"], &["inf", "nan", "0x1", "", "1,5"]),
            (K::Number, "numeric(5,2)", &["0.05", "-123.45"], &["1234.00", "1.5", "1", "NaN", ".50", "1.", "a.bc"]),
            (K::Number, "numeric(3,0)", &["0", "-999"], &["1000", "1.0", "1."]),
            (
                K::Number,
                "character varying",
                &["1.50", "-0.1", "NaN", "-Infinity", &"9".repeat(200)],
                &["=1", "", "1e5", "x"],
            ),
            (K::Boolean, "boolean", &["true", "false"], &["t", "True", "1", ""]),
            (
                K::Time,
                "timestamp with time zone",
                &["2024-03-01T00:00:00.000001Z", "-4712-01-01T23:59:59.999999Z", "+294247-01-10T04:00:54.775807Z"],
                &[
                    "2024-03-01T00:00:00.000001",
                    "2024-03-01 00:00:00.000001Z",
                    "2024-13-01T00:00:00.000001Z",
                    "jane",
                    "",
                ],
            ),
            (
                K::Time,
                "timestamp without time zone",
                &["2024-03-01T00:00:00.000001"],
                &["2024-03-01T00:00:00.000001Z", "2024-03-01T24:00:00.000000", "2024-03-01T00:00:00", "T"],
            ),
            (
                K::Time,
                "date",
                &["1969-12-31", "0000-01-01", "+10000-01-01"],
                &["1969-12-32", "1969-1-1", "69-01-01", ""],
            ),
            (
                K::Time,
                "time without time zone",
                &["00:00:00.000000", "23:59:59.999999"],
                &["24:00:00.000000", "00:00:00", "00:00:00.000000Z", "now", ""],
            ),
            (K::Binary, "binary varying", &["", "00ff"], &["0", "0F", "zz", "é"]),
            (
                K::Uuid,
                "binary varying",
                &["12345678-0123-4567-89ab-cdefabcdef01"],
                &[
                    "",
                    "12345678012345678 9abcdefabcdef01",
                    "12345678-0123-4567-89ab-cdefabcdef0",
                    "1234567-80123-4567-89ab-cdefabcdef01",
                    "12345678-0123-4567-89ab-cdefabcdeF01",
                ],
            ),
            (K::Other, "super", &["[1,null]", "{\"lower\":1}"], &[]),
            (K::Text, "character varying", &["", "anything"], &[]),
            (K::Json, "character varying", &["{}"], &[]),
        ] {
            let form = form(kind, manifest_type);
            for text in good {
                assert!(form.admits(text), "{manifest_type}: {text}");
            }
            for text in bad {
                assert!(!form.admits(text), "{manifest_type}: {text}");
            }
        }
    }

    #[test]
    fn geometry_in_the_place_of_text_is_geometry() {
        let searched = |scan| {
            let column = PolicyColumn {
                name: "v".to_owned(),
                sql_type: "text".to_owned(),
                kind: ColumnKind::Text,
                cell: Predicate::Always,
                care: Vec::new(),
                scan,
            };
            let wkb = ColumnOptions { geometry: Some(GeometryForm::Wkb), ..ColumnOptions::default() };
            Form::of(&column, "binary varying", Some(&wkb))
        };
        let point = "0101000000000000000000f03f0000000000000040";
        // "jane@example.com"
        let letters = "6a616e65406578616d706c652e636f6d";
        assert!(searched(true).admits(point));
        for text in [letters, &format!("{point}{letters}"), &point.to_uppercase(), ""] {
            assert!(!searched(true).admits(text), "{text}");
        }
        assert!(searched(false).admits(letters), "nobody asked for a search");
    }

    #[test]
    fn json_has_each_value_in_its_kind() {
        use ColumnKind as K;
        for (kind, manifest_type, raw, expected) in [
            (K::Number, "bigint", "12", Some("12")),
            (K::Number, "bigint", "\"12\"", None),
            (K::Number, "real", "1.5", Some("1.5")),
            (K::Number, "real", "\"NaN\"", Some("NaN")),
            (K::Number, "real", "\"1.5\"", None),
            (K::Number, "numeric(5,2)", "\"1.50\"", Some("1.50")),
            (K::Number, "numeric(5,2)", "1.50", None),
            (K::Text, "character varying", "\"a\\n\"", Some("a\n")),
            (K::Text, "character varying", "[\"a\"]", None),
            (K::Json, "character varying", "[\"a\"]", Some("[\"a\"]")),
            (K::Other, "super", "[\"a\"]", Some("[\"a\"]")),
            (K::Uuid, "binary varying", "\"00\"", Some("00")),
            (K::Time, "time without time zone", "1", None),
        ] {
            assert_eq!(form(kind, manifest_type).of_json(raw).as_deref(), expected, "{manifest_type} {raw}");
        }
    }
}
