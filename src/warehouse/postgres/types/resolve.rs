//! Which type of the catalog becomes what. A type that is not listed here cannot be exported, unless an operator asks
//! for PostgreSQL's own text of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use classification::ColumnKind;
use classification::rules::TypeProfile;

use super::super::super::{GeometryForm, OnUnrepresentable};
use super::{Attribute, Decoding, ListOf, RangeOf, Spatial, Spelling};

/// The most digits of a decimal of 128 bits.
const MAX_PRECISION: i32 = 38;
/// How deep types may be nested, domains included.
const MAX_DEPTH: usize = 24;
/// The reference system of `geography` where its type does not state one.
const GEOGRAPHY_SRID: i32 = 4326;

/// A type as the catalog has it.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct CatalogType {
    /// Its name without schema.
    pub(in super::super) name: String,
    /// `pg_type.typtype`: `b` base, `e` enum, `c` composite, `d` domain, `r` range, `m` multirange.
    pub(in super::super) class: char,
    /// The built-in function that sends it, empty for any other.
    pub(in super::super) send: String,
    /// The extension that it belongs to, empty for none.
    pub(in super::super) extension: String,
    /// Its items' type where it is an array; a domain's base, a range's bounds, a multirange's ranges.
    pub(in super::super) inner: u32,
    /// A domain's modifier for its base.
    pub(in super::super) modifier: i32,
    /// A composite's fields, in order.
    pub(in super::super) attributes: Vec<CatalogAttribute>,
    /// The labels of an enumerated type, in its order.
    pub(in super::super) labels: Vec<String>,
}

/// A field of a composite type.
#[derive(Debug, Clone, serde::Deserialize)]
pub(in super::super) struct CatalogAttribute {
    /// Its name.
    pub(in super::super) name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub(in super::super) oid: u32,
    /// The modifier, -1 for none.
    pub(in super::super) modifier: i32,
    /// Its type as PostgreSQL writes it.
    pub(in super::super) sql_type: String,
}

/// The types that columns can reach, by oid.
#[derive(Debug, Default)]
pub(in super::super) struct Types {
    /// Them.
    pub(in super::super) by_oid: HashMap<u32, CatalogType>,
    /// Decimal places of `money` in the server's locale.
    pub(in super::super) money_scale: i8,
}

/// What a type is to a policy, and how it is decoded under each profile where it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Resolved {
    /// What a policy must know.
    pub(in super::super) kind: ColumnKind,
    /// For files that every reader opens.
    pub(in super::super) portable: Option<Decoding>,
    /// For files that keep every type.
    pub(in super::super) native: Option<Decoding>,
    /// The labels of an enumerated type, in its order.
    pub(in super::super) labels: Vec<String>,
}

impl Types {
    /// What a column of this type and modifier is.
    ///
    /// Everything nested is of kind `Other`, whatever is in it: as long as no search looks inside, only an
    /// attestation lets it out, and no action that is made for plain numbers or times is taken for it.
    pub(in super::super) fn resolve(&self, oid: u32, modifier: i32) -> Resolved {
        let decode = |profile| self.decode(oid, modifier, profile, 0);
        let (base, labels) = match self.base(oid, modifier) {
            Some((base, _)) => (base, self.by_oid.get(&base).map(|found| found.labels.clone()).unwrap_or_default()),
            None => (0, Vec::new()),
        };
        let portable = decode(TypeProfile::Portable);
        let kind = match &portable {
            Some(decoding) => self.kind(base, decoding),
            None => ColumnKind::Other,
        };
        Resolved { kind, portable, native: decode(TypeProfile::Native), labels }
    }

    /// The structure of the composite types that a type reaches, such as ` (a integer, b text)`; nothing for others.
    /// Part of what a policy is planned with: a field that is added later is a change.
    pub(in super::super) fn structure(&self, oid: u32) -> String {
        self.structure_at(oid, 0)
    }

    fn structure_at(&self, oid: u32, depth: usize) -> String {
        match self.by_oid.get(&oid) {
            Some(found) if depth < MAX_DEPTH && found.class == 'c' => {
                let fields = found.attributes.iter().map(|attribute| {
                    let inner = self.structure_at(attribute.oid, depth + 1);
                    format!("{} {}{inner}", attribute.name, attribute.sql_type)
                });
                format!(" ({})", fields.collect::<Vec<_>>().join(", "))
            }
            Some(found) if depth < MAX_DEPTH && found.inner != 0 => self.structure_at(found.inner, depth + 1),
            _ => String::new(),
        }
    }

    /// The type behind a domain, and its modifier.
    fn base(&self, mut oid: u32, mut modifier: i32) -> Option<(u32, i32)> {
        for _ in 0..MAX_DEPTH {
            let found = self.by_oid.get(&oid)?;
            if found.class != 'd' {
                return Some((oid, modifier));
            }
            (oid, modifier) = (found.inner, found.modifier);
        }
        None
    }

    fn kind(&self, oid: u32, decoding: &Decoding) -> ColumnKind {
        let enumerated = self.by_oid.get(&oid).is_some_and(|found| found.class == 'e');
        match decoding {
            Decoding::Int2 | Decoding::Int4 | Decoding::Int8 | Decoding::Oid => ColumnKind::Number,
            Decoding::Float4 | Decoding::Float8 | Decoding::Money { .. } => ColumnKind::Number,
            Decoding::Decimal { .. } | Decoding::NumericText => ColumnKind::Number,
            Decoding::Bool => ColumnKind::Boolean,
            Decoding::Text if enumerated => ColumnKind::Enum,
            // Addresses, lexemes, bit strings and whatever else is written as text: the search is to see it.
            Decoding::Text | Decoding::Spelled(_) | Decoding::Cast => ColumnKind::Text,
            Decoding::Json | Decoding::Jsonb => ColumnKind::Json,
            Decoding::Uuid | Decoding::UuidBytes => ColumnKind::Uuid,
            Decoding::Bytea => ColumnKind::Binary,
            Decoding::TimestampTz | Decoding::Timestamp | Decoding::Date => ColumnKind::Time,
            Decoding::Time | Decoding::Time64 | Decoding::TimeTz | Decoding::Interval => ColumnKind::Time,
            Decoding::Geometry(_) | Decoding::Map | Decoding::List(_) | Decoding::Struct(_) => ColumnKind::Other,
            Decoding::Range(_) | Decoding::Multirange(_) => ColumnKind::Other,
            Decoding::Guarded(_) | Decoding::Shaped(_) => ColumnKind::Other,
        }
    }

    fn decode(&self, oid: u32, modifier: i32, profile: TypeProfile, depth: usize) -> Option<Decoding> {
        if depth > MAX_DEPTH {
            return None;
        }
        let (base, modifier) = self.base(oid, modifier)?;
        let found = self.by_oid.get(&base)?;
        if let Some(decoding) = self.built_in(base, modifier, profile) {
            return Some(decoding);
        }
        let inner = || self.decode(found.inner, -1, profile, depth + 1);
        match (found.class, found.send.as_str()) {
            ('e', _) => Some(Decoding::Text),
            ('r', _) => plain(inner()?).map(|bound| Decoding::Range(range(bound))),
            ('m', _) => match inner()? {
                Decoding::Range(range) => Some(Decoding::Multirange(range)),
                _ => None,
            },
            ('c', _) => self.composite(found, profile, depth),
            ('b', "array_send" | "int2vectorsend" | "oidvectorsend") if found.inner != 0 => {
                let first = i32::from(found.send == "array_send");
                // Where the server casts the items, it names their new type beside them.
                let (item, oid) = match inner()? {
                    Decoding::Cast => (Decoding::Cast, TEXT),
                    item => (plain(item)?, found.inner),
                };
                Some(Decoding::List(Arc::new(ListOf { item, oid, first })))
            }
            ('b', _) => extension(found, modifier, profile),
            _ => None,
        }
    }

    fn composite(&self, found: &CatalogType, profile: TypeProfile, depth: usize) -> Option<Decoding> {
        let attributes = found.attributes.iter().map(|attribute| {
            let decoding = plain(self.decode(attribute.oid, attribute.modifier, profile, depth + 1)?)?;
            Some(Attribute { name: attribute.name.clone(), oid: attribute.oid, decoding })
        });
        let attributes: Vec<_> = attributes.collect::<Option<_>>()?;
        // Files have no structure without fields, nor one in which two have a name.
        let names: BTreeMap<_, _> = attributes.iter().map(|attribute| (&attribute.name, ())).collect();
        (!attributes.is_empty() && names.len() == attributes.len()).then(|| Decoding::Struct(attributes.into()))
    }

    fn built_in(&self, oid: u32, modifier: i32, profile: TypeProfile) -> Option<Decoding> {
        let native = profile == TypeProfile::Native;
        Some(match oid {
            16 => Decoding::Bool,
            17 => Decoding::Bytea,
            18 => Decoding::Spelled(Spelling::Char),
            20 => Decoding::Int8,
            21 => Decoding::Int2,
            23 => Decoding::Int4,
            // oid, xid and cid
            26 | 28 | 29 => Decoding::Oid,
            27 => Decoding::Spelled(Spelling::Tid),
            700 => Decoding::Float4,
            701 => Decoding::Float8,
            790 => Decoding::Money { scale: self.money_scale },
            1700 => numeric(modifier),
            // text, name, char(n), varchar and xml
            TEXT | 19 | 1042 | 1043 | 142 => Decoding::Text,
            114 => Decoding::Json,
            3802 => Decoding::Jsonb,
            4072 => Decoding::Spelled(Spelling::JsonPath),
            2950 if native => Decoding::UuidBytes,
            2950 => Decoding::Uuid,
            1082 => Decoding::Date,
            1083 if native => Decoding::Time64,
            1083 => Decoding::Time,
            1114 => Decoding::Timestamp,
            1184 => Decoding::TimestampTz,
            1186 => Decoding::Interval,
            1266 => Decoding::TimeTz,
            // inet and cidr, macaddr and macaddr8, bit and bit varying
            869 | 650 => Decoding::Spelled(Spelling::Inet),
            829 | 774 => Decoding::Spelled(Spelling::MacAddr),
            1560 | 1562 => Decoding::Spelled(Spelling::Bits),
            3614 => Decoding::Spelled(Spelling::TsVector),
            3220 => Decoding::Spelled(Spelling::Lsn),
            5069 => Decoding::Spelled(Spelling::Xid8),
            // regproc, regprocedure, regoper, regoperator, regclass, regtype, regrole, regnamespace, regconfig,
            // regdictionary and regcollation: names that only the server knows
            24 | 2202..=2206 | 4096 | 4089 | 3734 | 3769 | 4191 => Decoding::Cast,
            // tsquery, txid_snapshot and pg_snapshot: trees and sets in a form of their own
            3615 | 2970 | 5038 => Decoding::Cast,
            _ => return None,
        })
    }
}

/// `text`.
const TEXT: u32 = 25;

/// What stands inside another type: nothing that needs a cast, which there is none for, and no geometry.
fn plain(decoding: Decoding) -> Option<Decoding> {
    let mut inside = &decoding;
    while let Decoding::List(list) = inside {
        inside = &list.item;
    }
    let plain = !matches!(inside, Decoding::Cast | Decoding::Geometry(_));
    plain.then_some(decoding)
}

fn range(bound: Decoding) -> Arc<RangeOf> {
    Arc::new(RangeOf { bound, on_unrepresentable: OnUnrepresentable::Error })
}

/// Base types that are not PostgreSQL's own: those of known extensions, and those whose binary form is their text,
/// as that of `citext` is.
fn extension(found: &CatalogType, modifier: i32, profile: TypeProfile) -> Option<Decoding> {
    match (found.extension.as_str(), found.name.as_str()) {
        ("", _) => {}
        ("hstore", "hstore") => return Some(Decoding::Map),
        (_, name @ ("geometry" | "geography")) => {
            let geography = name == "geography";
            let stated = Some(srid(modifier)).filter(|&srid| srid > 0);
            return Some(Decoding::Geometry(Spatial {
                srid: stated.or(geography.then_some(GEOGRAPHY_SRID)),
                geography,
                native: profile == TypeProfile::Native,
                form: GeometryForm::Wkb,
                decimals: None,
                on_unrepresentable: OnUnrepresentable::Error,
                on_too_long: None,
            }));
        }
        _ => {}
    }
    (found.send == "textsend").then_some(Decoding::Text)
}

/// The reference system in a modifier of PostGIS: 21 bits with a sign, above the type's eight.
/// See `TYPMOD_GET_SRID` in PostGIS's `liblwgeom.h`.
fn srid(modifier: i32) -> i32 {
    if modifier < 0 { 0 } else { ((modifier & 0x0fff_ff00) - (modifier & 0x1000_0000)) >> 8 }
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

#[cfg(test)]
mod tests;
