//! Actions as expressions of PostgreSQL (13 or later), for exports that never pass through the process.
//!
//! An expression gives exactly what the functions of this module give for the same value; where that cannot be had
//! there is none, and the column has to be streamed:
//!
//! - `char(n)`, domains and types of extensions, where text is asked for: a cast to `text` takes away padding, or is not
//!   known here;
//! - networks of addresses in text: a text that is no address makes a cast fail, where it should become NULL;
//! - networks of more than 96 bits of IPv6: the two write addresses with an embedded IPv4 address differently;
//! - rounding inside well-known text: it needs a parser;
//! - `numeric` with a scale below zero or above its precision: its limits differ from those of the file's type.
//!
//! The key never stands in an expression: the statement has parameters for it.

use super::{Action, REDACTED, TimePart};
use crate::policy::ColumnKind;

/// What a statement makes pseudonyms with, as expressions of it.
#[derive(Debug, Clone, Copy)]
pub struct PseudonymSql<'a> {
    /// The inner of [`Pseudonymiser::pads`](super::Pseudonymiser::pads), a parameter such as `$1`: `bytea`.
    pub inner_pad: &'a str,
    /// The outer one.
    pub outer_pad: &'a str,
    /// The row's day as text, `YYYY-MM-DD`, for pseudonyms that change daily.
    pub day: Option<&'a str>,
}

/// The first year that the calendar of dates in the process does not have.
const BEYOND: &str = "262143-01-01";

impl Action {
    /// The action on a column as an expression, of the column's type or text. `column` is an expression as well: a name in
    /// quotes. `None` where there is no expression that gives the same; see above.
    pub fn postgres(
        &self,
        column: &str,
        kind: ColumnKind,
        sql_type: &str,
        pseudonyms: Option<PseudonymSql<'_>>,
    ) -> Option<String> {
        self.fits(kind, sql_type).ok()?;
        let text = is_text(sql_type).then(|| format!("{column}::pg_catalog.text"));
        match self {
            Self::Drop | Self::RoundWkt { .. } => None,
            Self::Null => Some(format!("NULL::{sql_type}")),
            Self::Redact => Some(format!("CASE WHEN {column} IS NOT NULL THEN '{REDACTED}'::pg_catalog.text END")),
            Self::MaskLast4 => text.map(|text| {
                let length = format!("pg_catalog.char_length({text})");
                format!(
                    "CASE WHEN {length} > 4 THEN pg_catalog.repeat('*', {length} - 4) || pg_catalog.right({text}, 4) \
                     ELSE pg_catalog.repeat('*', {length}) END"
                )
            }),
            Self::Truncate { length } => {
                text.map(|text| format!("pg_catalog.left({text}, {})", i32::try_from(*length).unwrap_or(i32::MAX)))
            }
            Self::Pseudonym { domain, per_day } => {
                let with = pseudonyms?;
                let day = if *per_day { Some(with.day?) } else { None };
                pseudonym(column, kind, sql_type, text, domain, day, with)
            }
            Self::Round { decimals } => round(column, sql_type, *decimals),
            Self::DateTrunc { part } => trunc(column, sql_type, *part),
            Self::NetworkPrefix { v4, v6 } => network(column, sql_type, *v4, *v6),
        }
    }
}

/// Types whose values are their text.
fn is_text(sql_type: &str) -> bool {
    sql_type == "text" || sql_type == "character varying" || sql_type.starts_with("character varying(")
}

fn bytes(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'\\x{hex}'::pg_catalog.bytea")
}

fn pseudonym(
    column: &str,
    kind: ColumnKind,
    sql_type: &str,
    text: Option<String>,
    domain: &str,
    day: Option<&str>,
    with: PseudonymSql<'_>,
) -> Option<String> {
    let utf8 = |text: &str| format!("pg_catalog.convert_to({text}, 'UTF8')");
    let integer = matches!(sql_type, "bigint" | "int8");
    let value = match (kind, &text) {
        (ColumnKind::Uuid, _) => format!("pg_catalog.uuid_send({column})"),
        (ColumnKind::Text, Some(text)) => utf8(text),
        _ if integer => utf8(&format!("{column}::pg_catalog.text")),
        _ => return None,
    };
    let length = (domain.len() as u64).to_be_bytes();
    let before = match day {
        None => bytes(&[&length, &[0; 8], domain.as_bytes()].concat()),
        Some(day) => format!(
            "{} || pg_catalog.int8send(pg_catalog.octet_length({day})::pg_catalog.int8) || {} || {}",
            bytes(&length),
            bytes(domain.as_bytes()),
            utf8(day)
        ),
    };
    let PseudonymSql { inner_pad, outer_pad, .. } = with;
    let inner = format!("pg_catalog.sha256({inner_pad} || {before} || {value})");
    let code = format!("pg_catalog.sha256({outer_pad} || {inner})");
    let hex = |length: u8| format!("pg_catalog.encode(pg_catalog.substr({code}, 1, {length}), 'hex')");
    Some(match kind {
        ColumnKind::Uuid => format!(
            "(SELECT pg_catalog.encode(pg_catalog.set_byte(pg_catalog.set_byte(t, 6, pg_catalog.get_byte(t, 6) & 15 | 128), \
             8, pg_catalog.get_byte(t, 8) & 63 | 128), 'hex')::pg_catalog.uuid \
             FROM (SELECT pg_catalog.substr({code}, 1, 16) AS t) AS token)"
        ),
        _ if integer => format!("(('x' || {})::bit(64)::pg_catalog.int8 & 9223372036854775807)", hex(8)),
        _ => hex(16),
    })
}

fn round(column: &str, sql_type: &str, decimals: i8) -> Option<String> {
    let number = match sql_type {
        "double precision" | "float8" => return Some(round_float(column, decimals)),
        "real" | "float4" => {
            let rounded = round_float(&format!("{column}::pg_catalog.float8"), decimals);
            return Some(format!("({rounded})::pg_catalog.float4"));
        }
        "smallint" | "int2" => Some(("int2", i64::from(i16::MAX))),
        "integer" | "int4" => Some(("int4", i64::from(i32::MAX))),
        "bigint" | "int8" | "oid" => Some(("int8", i64::MAX)),
        _ => None,
    };
    if let Some((name, highest)) = number {
        let rounded = format!("pg_catalog.round({column}::pg_catalog.int8::pg_catalog.numeric, {decimals})");
        let lowest = -i128::from(highest) - 1;
        return Some(format!(
            "CASE WHEN {rounded} BETWEEN {lowest} AND {highest} THEN {rounded}::pg_catalog.{name} END"
        ));
    }
    let rounded = format!("pg_catalog.round({column}, {decimals})");
    let (precision, scale) = match sql_type.strip_prefix("numeric")? {
        "" => (i16::MAX, 0),
        limits => {
            let (precision, scale) = limits.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
            (precision.parse().ok()?, scale.parse::<i16>().ok()?)
        }
    };
    if !(0..=precision).contains(&scale) {
        return None;
    }
    if precision > 38 {
        // Written out, and left as it is where it has fewer places. A number that is none has no scale.
        return Some(format!(
            "CASE WHEN pg_catalog.scale({column}) <= {decimals} THEN {column} ELSE {rounded} END::pg_catalog.numeric"
        ));
    }
    if i16::from(decimals) >= scale {
        return Some(column.to_owned());
    }
    // Rounding up may need a digit that the type does not have.
    let limit = format!("1{}", "0".repeat(usize::try_from(precision - scale).ok()?));
    Some(format!("(CASE WHEN pg_catalog.abs({rounded}) < {limit} THEN {rounded} END)::numeric({precision},{scale})"))
}

/// As the process does it, in double precision. PostgreSQL fails where a result is too large or too small, so what
/// would come to that is told apart: it stays, or is nothing.
fn round_float(column: &str, decimals: i8) -> String {
    let scale = 10_f64.powi(i32::from(decimals.unsigned_abs()));
    let number = |value: f64| format!("'{value:e}'::pg_catalog.float8");
    let (up, scaled) = (decimals >= 0, number(scale));
    let result = |value: f64| {
        if up { (value * scale).round_ties_even() / scale } else { (value / scale).round_ties_even() * scale }
    };
    // The largest number whose result is one: it is only a few steps from where it should be.
    let mut largest = if up { f64::MAX / scale } else { f64::MAX };
    while !(result(largest).is_finite() && (!up || (largest * scale).is_finite())) {
        largest = largest.next_down();
    }
    while largest < f64::MAX && result(largest.next_up()).is_finite() {
        largest = largest.next_up();
    }
    let rounded = if up {
        format!("pg_catalog.round({column} * {scaled}) / {scaled}")
    } else {
        format!(
            "CASE WHEN pg_catalog.abs({column}) < 1 THEN {column} * 0 ELSE pg_catalog.round({column} / {scaled}) * {scaled} END"
        )
    };
    format!("CASE WHEN pg_catalog.abs({column}) > {} THEN {column} ELSE {rounded} END", number(largest))
}

/// Instants of the first months that PostgreSQL has, in 4714 BC, make the query fail: the beginning of their year is
/// before its calendar.
fn trunc(column: &str, sql_type: &str, part: TimePart) -> Option<String> {
    let (cut, literal) = if sql_type == "date" {
        (format!("pg_catalog.date_trunc('{part}', {column}::pg_catalog.timestamp)::pg_catalog.date"), "date")
    } else if !sql_type.starts_with("timestamp") {
        return None;
    } else if sql_type.ends_with(" with time zone") {
        (format!("pg_catalog.date_trunc('{part}', {column}, 'UTC')"), "timestamptz")
    } else {
        (format!("pg_catalog.date_trunc('{part}', {column})"), "timestamp")
    };
    let zone = if literal == "timestamptz" { " 00:00:00+00" } else { "" };
    let by_calendar = sql_type == "date" || part.is_days() && part != TimePart::Day;
    Some(if by_calendar { format!("CASE WHEN {column} < {literal} '{BEYOND}{zone}' THEN {cut} END") } else { cut })
}

fn network(column: &str, sql_type: &str, v4: u8, v6: u8) -> Option<String> {
    if !matches!(sql_type, "inet" | "cidr") || v6 > 96 {
        return None;
    }
    let cut = |bits: u8| {
        format!(
            "pg_catalog.network(pg_catalog.set_masklen({column}::pg_catalog.inet, LEAST(pg_catalog.masklen({column}), {bits})))"
        )
    };
    Some(format!("(CASE pg_catalog.family({column}) WHEN 4 THEN {} ELSE {} END)::pg_catalog.text", cut(v4), cut(v6)))
}
