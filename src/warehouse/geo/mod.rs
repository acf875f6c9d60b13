//! Geometry as warehouses hold it, in text or in binary, and as files are to hold it: rounded, and written as text, as
//! well-known binary or as an encoded polyline. Pure functions on slices.
//!
//! Coordinates are rounded by their decimal digits, ties away from zero, with the function that restrictions use. What
//! rounding would make of rings and lines is looked at before anything is written: see [`rings`].

mod geojson;
mod polyline;
pub(crate) mod rings;
mod wkb;
mod wkt;

use classification::actions::round_wkt;

use super::GeometryForm;

pub(crate) use self::wkb::read as read_wkb;

/// How deep collections may be nested.
const MAX_DEPTH: usize = 16;
/// Decimals of a polyline unless others are asked for, as its readers expect.
const POLYLINE_DECIMALS: u8 = 5;

/// A position: x and y, then z and m where the geometry has them.
pub(crate) type Position = [f64; 4];

/// A geometry of one of the seven types that GeoParquet has.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Geometry {
    /// Its type.
    pub(crate) kind: Kind,
    /// Whether positions have a third coordinate.
    pub(crate) z: bool,
    /// Whether they have a measure.
    pub(crate) m: bool,
    /// What it is made of.
    pub(crate) parts: Parts,
}

/// The types of geometry, with their codes in well-known binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Point = 1,
    LineString = 2,
    Polygon = 3,
    MultiPoint = 4,
    MultiLineString = 5,
    MultiPolygon = 6,
    GeometryCollection = 7,
}

/// What a geometry is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Parts {
    /// Of a point, at most one; of a line.
    Positions(Vec<Position>),
    /// Of a polygon: its shell, then its holes.
    Rings(Vec<Vec<Position>>),
    /// Of everything else.
    Geometries(Vec<Geometry>),
}

/// Why a geometry was not written. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is none, or none that can be written in this form.
    Unfit(&'static str),
    /// Rounding would change what it is.
    Rounding(&'static str),
    /// Bytes that are not what a server sends.
    Malformed(&'static str),
}

/// A geometry that was written, and the reference system that it named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// The value for the file.
    pub(crate) bytes: Vec<u8>,
    /// The reference system in front of well-known text, 0 for none.
    pub(crate) srid: i32,
}

impl Kind {
    const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Point, "POINT", "Point"),
        (Self::LineString, "LINESTRING", "LineString"),
        (Self::Polygon, "POLYGON", "Polygon"),
        (Self::MultiPoint, "MULTIPOINT", "MultiPoint"),
        (Self::MultiLineString, "MULTILINESTRING", "MultiLineString"),
        (Self::MultiPolygon, "MULTIPOLYGON", "MultiPolygon"),
        (Self::GeometryCollection, "GEOMETRYCOLLECTION", "GeometryCollection"),
    ];

    /// Its word in well-known text.
    fn word(self) -> &'static str {
        Self::ALL[self as usize - 1].1
    }

    /// The only type that its parts may have, if there is one.
    fn of_parts(self) -> Option<Self> {
        match self {
            Self::MultiPoint => Some(Self::Point),
            Self::MultiLineString => Some(Self::LineString),
            Self::MultiPolygon => Some(Self::Polygon),
            _ => None,
        }
    }
}

impl Geometry {
    /// How many numbers a position has.
    fn width(&self) -> usize {
        2 + usize::from(self.z) + usize::from(self.m)
    }

    /// Calls this for every position.
    fn each_position(&mut self, change: &mut impl FnMut(&mut [f64])) {
        let width = self.width();
        match &mut self.parts {
            Parts::Positions(positions) => positions.iter_mut().for_each(|position| change(&mut position[..width])),
            Parts::Rings(rings) => rings.iter_mut().flatten().for_each(|position| change(&mut position[..width])),
            Parts::Geometries(parts) => parts.iter_mut().for_each(|part| part.each_position(change)),
        }
    }
}

/// Writes text that holds geometry, well-known or GeoJSON, in this form and with so many decimals (`None`: as they
/// are). GeoJSON stays GeoJSON where text is asked for; everything in it but coordinates stays as it is.
pub(crate) fn write_text(text: &str, form: GeometryForm, decimals: Option<u8>) -> Result<Written, Fault> {
    let decimals = decimals.or((form == GeometryForm::Polyline).then_some(POLYLINE_DECIMALS));
    let json = text.trim_start().starts_with('{');
    let rounded = match decimals {
        Some(decimals) if json => geojson::round(text, decimals)?,
        Some(decimals) => round_wkt(text, decimals).ok_or(wkt::UNKNOWN)?,
        None => text.to_owned(),
    };
    let (geometry, srid) = if json { (geojson::read(&rounded)?, 0) } else { wkt::read(&rounded)? };
    if let (Some(decimals), true) = (decimals, rounded != text) {
        rings::check(&geometry, decimals).map_err(Fault::Rounding)?;
    }
    let bytes = match form {
        GeometryForm::Text => rounded.into_bytes(),
        GeometryForm::Wkb => wkb::write(&geometry),
        GeometryForm::Polyline => polyline::write(&geometry, decimals.unwrap_or(POLYLINE_DECIMALS))?.into_bytes(),
    };
    Ok(Written { bytes, srid })
}

/// Writes a geometry in this form and with so many decimals (`None`: as they are).
pub(crate) fn write(geometry: &Geometry, form: GeometryForm, decimals: Option<u8>) -> Result<Vec<u8>, Fault> {
    let decimals = decimals.or((form == GeometryForm::Polyline).then_some(POLYLINE_DECIMALS));
    let rounded = match decimals {
        Some(decimals) => Some(round(geometry, decimals)?),
        None => None,
    };
    if let (Some(rounded), Some(decimals)) = (&rounded, decimals)
        && rounded != geometry
    {
        rings::check(rounded, decimals).map_err(Fault::Rounding)?;
    }
    let geometry = rounded.as_ref().unwrap_or(geometry);
    match form {
        GeometryForm::Text => wkt::write(geometry).map(String::into_bytes),
        GeometryForm::Wkb => Ok(wkb::write(geometry)),
        GeometryForm::Polyline => {
            polyline::write(geometry, decimals.unwrap_or(POLYLINE_DECIMALS)).map(String::into_bytes)
        }
    }
}

/// Rounds every coordinate.
fn round(geometry: &Geometry, decimals: u8) -> Result<Geometry, Fault> {
    const INFINITE: Fault = Fault::Unfit("a coordinate is not a number");
    let mut rounded = geometry.clone();
    let mut numbers = Vec::new();
    let mut finite = true;
    rounded.each_position(&mut |position| {
        finite &= position.iter().all(|number| number.is_finite());
        numbers.extend(position.iter().map(f64::to_string));
    });
    if !finite {
        return Err(INFINITE);
    }
    let numbers = round_numbers(numbers.iter().map(String::as_str), decimals).ok_or(INFINITE)?;
    let mut numbers = numbers.iter().map(|number| number.parse::<f64>());
    rounded.each_position(&mut |position| {
        for number in position {
            if let Some(Ok(rounded)) = numbers.next() {
                *number = rounded;
            }
        }
    });
    Ok(rounded)
}

/// Rounds numbers by their digits. They are lent the form in which [`round_wkt`] takes them, which counts none.
fn round_numbers<'a>(numbers: impl IntoIterator<Item = &'a str>, decimals: u8) -> Option<Vec<String>> {
    let mut text = "POINT(".to_owned();
    for number in numbers {
        text.push_str(number);
        text.push(' ');
    }
    text.push(')');
    let rounded = round_wkt(&text, decimals)?;
    let inside = rounded.strip_prefix("POINT(")?.strip_suffix(')')?;
    Some(inside.split_ascii_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests;
