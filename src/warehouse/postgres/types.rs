//! From a PostgreSQL type to what a column becomes: how its bytes are decoded, its Arrow type, and its name in a
//! manifest. [`resolve`] says which type becomes what, [`options`] what an operator may change of that.

pub(super) mod options;
pub(super) mod resolve;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use super::super::{GeometryForm, OnTooLong, OnUnrepresentable};

/// The zone of `timestamptz` in Arrow.
const UTC: &str = "UTC";
/// The digits of the largest `money`.
pub(super) const MONEY_PRECISION: u8 = 19;
/// The name by which readers know a field's extension type.
const EXTENSION: &str = "ARROW:extension:name";
/// What is said of that extension type.
const EXTENSION_METADATA: &str = "ARROW:extension:metadata";

/// How the bytes of a column are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decoding {
    Int2,
    Int4,
    Int8,
    /// `oid` and other unsigned numbers of 32 bits.
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
    /// `money`: a whole number of the smallest unit, which the server's locale says.
    Money {
        scale: i8,
    },
    Text,
    Json,
    Jsonb,
    Uuid,
    /// `uuid` as 16 bytes.
    UuidBytes,
    Bytea,
    TimestampTz,
    Timestamp,
    Date,
    Time,
    /// `time` as microseconds of the day.
    Time64,
    TimeTz,
    Interval,
    /// Types of fixed form that are written as text.
    Spelled(Spelling),
    /// PostgreSQL's own text, by a cast in the query.
    Cast,
    /// PostGIS `geometry` and `geography`.
    Geometry(Spatial),
    List(Arc<ListOf>),
    Struct(Arc<[Attribute]>),
    /// A range over this type.
    Range(Arc<RangeOf>),
    /// A list of such ranges.
    Multirange(Arc<RangeOf>),
    /// `hstore`.
    Map,
    /// With a policy for what cannot be represented.
    Guarded(Arc<Guard>),
    /// Text that holds geometry.
    Shaped(Shape),
}

/// Types whose text is made here, since the server sends them in a form of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `inet` and `cidr`.
    Inet,
    /// `macaddr` and `macaddr8`.
    MacAddr,
    /// `bit` and `bit varying`.
    Bits,
    /// `"char"`, one byte.
    Char,
    Xid8,
    Tid,
    /// `pg_lsn`.
    Lsn,
    TsVector,
    /// `jsonpath`: a version byte, then the text.
    JsonPath,
}

/// An array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListOf {
    /// Its items.
    pub(super) item: Decoding,
    /// The type of its items as the server names it beside them.
    pub(super) oid: u32,
    /// Where its indexes begin: 1, but 0 in two types of the catalog's own.
    pub(super) first: i32,
}

/// A field of a composite type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    /// Its name.
    pub(super) name: String,
    /// Its type as the server names it beside the value.
    pub(super) oid: u32,
    /// How it is decoded.
    pub(super) decoding: Decoding,
}

/// A range's bounds, and what becomes of a range whose bound cannot be represented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RangeOf {
    /// Its bounds.
    pub(super) bound: Decoding,
    /// The whole range is meant: a bound that became NULL would say that there is none.
    pub(super) on_unrepresentable: OnUnrepresentable,
}

/// A PostGIS type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spatial {
    /// The reference system that the column's type states.
    pub(super) srid: Option<i32>,
    /// Whether edges are geodesics.
    pub(super) geography: bool,
    /// Whether the file's own geometry type is used.
    pub(super) native: bool,
    /// How it is written.
    pub(super) form: GeometryForm,
    /// Decimals of its coordinates; `None`: as they are.
    pub(super) decimals: Option<u8>,
    /// What becomes of values that cannot be written so.
    pub(super) on_unrepresentable: OnUnrepresentable,
    /// What becomes of texts that are too long.
    pub(super) on_too_long: Option<OnTooLong>,
}

/// Text that holds geometry, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// How it is written.
    pub(super) form: GeometryForm,
    /// Whether the text comes as `jsonb`, with a version byte.
    pub(super) jsonb: bool,
    /// Decimals of its coordinates; `None`: as they are.
    pub(super) decimals: Option<u8>,
    /// What becomes of values that cannot be written so.
    pub(super) on_unrepresentable: OnUnrepresentable,
    /// What becomes of texts that are too long.
    pub(super) on_too_long: Option<OnTooLong>,
}

/// A policy around a decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guard {
    /// What is guarded.
    pub(super) decoding: Decoding,
    /// What becomes of values that cannot be represented.
    pub(super) on_unrepresentable: OnUnrepresentable,
    /// What becomes of texts that are too long. Only around text.
    pub(super) on_too_long: Option<OnTooLong>,
}

impl Decoding {
    /// The Arrow type. Everything in a nested type is nullable but keys: a policy may null single cells.
    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 | Self::Oid => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Money { scale } => DataType::Decimal128(MONEY_PRECISION, *scale),
            Self::NumericText | Self::Text | Self::Json | Self::Jsonb | Self::Uuid => DataType::Utf8,
            Self::Time | Self::TimeTz | Self::Spelled(_) | Self::Cast => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::UuidBytes => DataType::FixedSizeBinary(16),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Date => DataType::Date32,
            Self::Time64 => DataType::Time64(TimeUnit::Microsecond),
            Self::Interval => DataType::Struct(interval_fields()),
            Self::Geometry(Spatial { form, .. }) | Self::Shaped(Shape { form, .. }) => match form {
                GeometryForm::Wkb => DataType::Binary,
                GeometryForm::Text | GeometryForm::Polyline => DataType::Utf8,
            },
            Self::List(list) => DataType::List(Arc::new(list.item.field("element", &[]))),
            Self::Struct(attributes) => DataType::Struct(
                attributes.iter().map(|attribute| attribute.decoding.field(&attribute.name, &[])).collect(),
            ),
            Self::Range(range) => range.data_type(),
            Self::Multirange(range) => DataType::List(Arc::new(Field::new("element", range.data_type(), true))),
            Self::Map => {
                DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair_fields()), false)), false)
            }
            Self::Guarded(guard) => guard.decoding.data_type(),
        }
    }

    /// The type in the words of a Redshift manifest, for what is in the file.
    pub(super) fn manifest_type(&self) -> String {
        match self {
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 | Self::Oid => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Bool => "boolean",
            Self::Decimal { precision, scale } => return format!("numeric({precision},{scale})"),
            Self::Money { scale } => return format!("numeric({MONEY_PRECISION},{scale})"),
            Self::TimestampTz => "timestamp with time zone",
            Self::Timestamp => "timestamp without time zone",
            Self::Date => "date",
            Self::Time64 => "time without time zone",
            Self::Guarded(guard) => return guard.decoding.manifest_type(),
            _ => match self.data_type() {
                DataType::Utf8 => "character varying",
                DataType::Binary | DataType::FixedSizeBinary(_) => "binary varying",
                // What is nested loads into the type for what has no columns of its own.
                _ => "super",
            },
        }
        .to_owned()
    }

    /// The column's field. Always nullable: a policy may null single cells of any column.
    pub(super) fn field(&self, name: &str, enum_labels: &[String]) -> Field {
        let mut metadata = HashMap::new();
        let mut extension = |name: &str, said: String| {
            metadata.insert(EXTENSION.to_owned(), name.to_owned());
            metadata.insert(EXTENSION_METADATA.to_owned(), said);
        };
        match self {
            Self::Json | Self::Jsonb => extension("arrow.json", String::new()),
            Self::UuidBytes => extension("arrow.uuid", String::new()),
            Self::Guarded(guard) => return guard.decoding.field(name, enum_labels),
            Self::Geometry(spatial) => {
                if spatial.native && spatial.form == GeometryForm::Wkb {
                    extension("geoarrow.wkb", spatial.extension());
                }
                if let Some(srid) = spatial.srid {
                    metadata.insert("srid".to_owned(), srid.to_string());
                }
                let said = if spatial.geography { "geography" } else { "geometry" };
                metadata.insert("geometry".to_owned(), said.to_owned());
            }
            Self::Shaped(shape) if shape.form == GeometryForm::Wkb => {
                metadata.insert("geometry".to_owned(), "geometry".to_owned());
            }
            _ => {}
        }
        if !enum_labels.is_empty() && self.data_type() == DataType::Utf8 {
            metadata.insert("enum_labels".to_owned(), serde_json::Value::from(enum_labels).to_string());
        }
        Field::new(name, self.data_type(), true).with_metadata(metadata)
    }

    /// What the query asks for, given the column as an identifier: itself, or a cast of it.
    pub(super) fn select(&self, name: &str) -> String {
        match self {
            Self::Cast => format!("{name}::pg_catalog.text"),
            Self::Guarded(guard) => guard.decoding.select(name),
            Self::List(list) if list.item.is_cast() => format!("{name}::pg_catalog.text[]"),
            _ => name.to_owned(),
        }
    }

    /// Whether [`Self::select`] casts.
    pub(super) fn is_cast(&self) -> bool {
        match self {
            Self::Cast => true,
            Self::Guarded(guard) => guard.decoding.is_cast(),
            _ => false,
        }
    }
}

impl RangeOf {
    fn data_type(&self) -> DataType {
        let flag = |name: &str| Field::new(name, DataType::Boolean, true);
        DataType::Struct(Fields::from(vec![
            self.bound.field("lower", &[]),
            self.bound.field("upper", &[]),
            flag("lower_inc"),
            flag("upper_inc"),
            flag("empty"),
        ]))
    }
}

impl Spatial {
    /// What the file's geometry type says: the reference system, and whether edges are geodesics.
    fn extension(&self) -> String {
        let mut said = serde_json::Map::new();
        match self.srid {
            Some(4326) => drop(said.insert("crs".to_owned(), "OGC:CRS84".into())),
            Some(srid) if srid > 0 => drop(said.insert("crs".to_owned(), format!("srid:{srid}").into())),
            _ => {}
        }
        if self.geography {
            said.insert("edges".to_owned(), "spherical".into());
        }
        serde_json::Value::Object(said).to_string()
    }
}

/// The parts of an interval, which no smaller type keeps apart.
pub(super) fn interval_fields() -> Fields {
    Fields::from(vec![
        Field::new("months", DataType::Int32, true),
        Field::new("days", DataType::Int32, true),
        Field::new("microseconds", DataType::Int64, true),
    ])
}

/// A key and its value.
pub(super) fn pair_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)])
}
