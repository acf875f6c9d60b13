//! From a PostgreSQL type to what a column becomes: how its bytes are decoded, its Arrow type, its kind for a
//! policy and its name in a manifest. A type that is not listed here cannot be exported.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, TimeUnit};
use classification::ColumnKind;

/// The zone of `timestamptz` in Arrow.
const UTC: &str = "UTC";
/// The most digits of a decimal of 128 bits.
const MAX_PRECISION: i32 = 38;

/// How the bytes of a column are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoding {
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Bool,
    /// A number that has at most `precision` digits, `scale` of them after the point.
    Decimal {
        precision: u8,
        scale: i8,
    },
    NumericText,
    Text,
    Json,
    Jsonb,
    Uuid,
    Bytea,
    TimestampTz,
    Timestamp,
    Date,
    Time,
}

/// What the catalog says of a type once domains are followed to their base.
#[derive(Debug, Clone)]
pub(super) struct BaseType {
    /// `pg_type.oid`.
    pub(super) oid: u32,
    /// `pg_type.typtype`: `b` base, `e` enum, `c` composite and so on.
    pub(super) class: char,
    /// The modifier, -1 for none.
    pub(super) modifier: i32,
    /// Whether its binary form is its text, as an extension's text type such as `citext` has it.
    pub(super) sent_as_text: bool,
}

/// What a column of this type is to a policy, and how it is decoded where it can be.
pub(super) fn resolve(base: &BaseType) -> (ColumnKind, Option<Decoding>) {
    use ColumnKind as Kind;
    let known = |kind, decoding| (kind, Some(decoding));
    match base.oid {
        16 => known(Kind::Boolean, Decoding::Bool),
        17 => known(Kind::Binary, Decoding::Bytea),
        20 => known(Kind::Number, Decoding::Int8),
        21 => known(Kind::Number, Decoding::Int2),
        23 => known(Kind::Number, Decoding::Int4),
        26 => known(Kind::Number, Decoding::Oid),
        700 => known(Kind::Number, Decoding::Float4),
        701 => known(Kind::Number, Decoding::Float8),
        1700 => known(Kind::Number, numeric(base.modifier)),
        // text, name, char(n), varchar and xml
        25 | 19 | 1042 | 1043 | 142 => known(Kind::Text, Decoding::Text),
        114 => known(Kind::Json, Decoding::Json),
        3802 => known(Kind::Json, Decoding::Jsonb),
        2950 => known(Kind::Uuid, Decoding::Uuid),
        1082 => known(Kind::Time, Decoding::Date),
        1083 => known(Kind::Time, Decoding::Time),
        1114 => known(Kind::Time, Decoding::Timestamp),
        1184 => known(Kind::Time, Decoding::TimestampTz),
        _ if base.class == 'e' => known(Kind::Enum, Decoding::Text),
        _ if base.class == 'b' && base.sent_as_text => known(Kind::Text, Decoding::Text),
        _ => (Kind::Other, None),
    }
}

/// A number's precision and scale are in its modifier. Files have neither negative scales nor scales beyond the
/// precision, so both are widened to a type that holds every such value.
fn numeric(modifier: i32) -> Decoding {
    if modifier < 4 {
        return Decoding::NumericText;
    }
    let precision = ((modifier - 4) >> 16) & 0xffff;
    // Eleven bits with a sign; older servers, without negative scales, leave the sign clear.
    let scale = (((modifier - 4) & 0x7ff) ^ 0x400) - 0x400;
    let (precision, scale) = (if scale < 0 { precision - scale } else { precision.max(scale) }, scale.max(0));
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if i32::from(precision) <= MAX_PRECISION => Decoding::Decimal { precision, scale },
        _ => Decoding::NumericText,
    }
}

impl Decoding {
    /// The Arrow type.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 | Self::Oid => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            Self::NumericText | Self::Text | Self::Json | Self::Jsonb | Self::Uuid | Self::Time => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Date => DataType::Date32,
        }
    }

    /// The type in the words of a Redshift manifest, for what is in the file.
    pub(super) fn manifest_type(self) -> String {
        match self {
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 | Self::Oid => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Bool => "boolean",
            Self::Decimal { precision, scale } => return format!("numeric({precision},{scale})"),
            Self::NumericText | Self::Text | Self::Json | Self::Jsonb | Self::Uuid | Self::Time => "character varying",
            Self::Bytea => "binary varying",
            Self::TimestampTz => "timestamp with time zone",
            Self::Timestamp => "timestamp without time zone",
            Self::Date => "date",
        }
        .to_owned()
    }

    /// The column's field. Always nullable: a policy may null single cells of any column.
    pub(super) fn field(self, name: &str, enum_labels: &[String]) -> Field {
        let mut metadata = HashMap::new();
        if matches!(self, Self::Json | Self::Jsonb) {
            metadata.insert("ARROW:extension:name".to_owned(), "arrow.json".to_owned());
            metadata.insert("ARROW:extension:metadata".to_owned(), String::new());
        }
        if !enum_labels.is_empty() {
            metadata.insert("enum_labels".to_owned(), serde_json::Value::from(enum_labels).to_string());
        }
        Field::new(name, self.data_type(), true).with_metadata(metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn a_numeric_becomes_a_decimal_that_holds_every_value_of_it() {
        for (modifier, want) in [
            (-1, None),
            (modifier(10, 2), Some((10, 2))),
            (modifier(38, 0), Some((38, 0))),
            (modifier(38, 38), Some((38, 38))),
            (modifier(39, 0), None),
            (modifier(1000, 1000), None),
            (modifier(5, -2), Some((7, 0))),
            (modifier(38, -1), None),
            (modifier(3, 5), Some((5, 5))),
            (modifier(3, 39), None),
        ] {
            let want = want.map_or(Decoding::NumericText, |(precision, scale)| Decoding::Decimal { precision, scale });
            assert_eq!(numeric(modifier), want);
        }
    }

    #[test]
    fn what_is_not_listed_cannot_be_exported() {
        let base = |oid, class, sent_as_text| BaseType { oid, class, modifier: -1, sent_as_text };
        for (base, kind, exported) in [
            (base(600, 'b', false), ColumnKind::Other, false),
            (base(1186, 'b', false), ColumnKind::Other, false),
            (base(70_000, 'c', false), ColumnKind::Other, false),
            (base(70_000, 'r', true), ColumnKind::Other, false),
            (base(70_000, 'b', true), ColumnKind::Text, true),
            (base(70_000, 'e', false), ColumnKind::Enum, true),
        ] {
            let (found, decoding) = resolve(&base);
            assert_eq!((found, decoding.is_some()), (kind, exported), "{base:?}");
        }
    }
}
