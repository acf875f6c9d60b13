//! GeoJSON (RFC 7946): geometries, features and collections of them. Rounding changes the digits of coordinates and
//! boxes where they stand and nothing else, so that other members keep every digit.

use serde_json::Value;

use super::{Fault, Geometry, Kind, MAX_DEPTH, Parts, Position, round_numbers};

const UNKNOWN: Fault = Fault::Unfit("the document is no GeoJSON of points, lines and polygons");

/// Reads the geometry of a document. A feature is its geometry, a collection of features a collection of theirs.
pub(super) fn read(text: &str) -> Result<Geometry, Fault> {
    let document: Value = serde_json::from_str(text).map_err(|_| UNKNOWN)?;
    geometry(&document, 0)
}

fn geometry(object: &Value, depth: usize) -> Result<Geometry, Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::Unfit("collections are nested too deeply"));
    }
    let member = |name: &str| object.get(name).ok_or(UNKNOWN);
    let name = member("type")?.as_str().ok_or(UNKNOWN)?;
    let collected = match name {
        "Feature" => return geometry(member("geometry")?, depth + 1),
        "FeatureCollection" => Some(member("features")?),
        "GeometryCollection" => Some(member("geometries")?),
        _ => None,
    };
    let (kind, parts) = match collected {
        Some(parts) => {
            let parts = parts.as_array().ok_or(UNKNOWN)?.iter().map(|part| geometry(part, depth + 1));
            (Kind::GeometryCollection, Parts::Geometries(parts.collect::<Result<_, _>>()?))
        }
        None => {
            let kind = Kind::ALL.iter().find(|(_, _, json)| *json == name).map(|(kind, ..)| *kind).ok_or(UNKNOWN)?;
            (kind, coordinates(kind, member("coordinates")?)?)
        }
    };
    let mut found = Geometry { kind, z: false, m: false, parts };
    found.z = third_axis(&found)?.unwrap_or(false);
    set_axis(&mut found);
    Ok(found)
}

fn coordinates(kind: Kind, value: &Value) -> Result<Parts, Fault> {
    let items = value.as_array().ok_or(UNKNOWN)?;
    Ok(match kind {
        Kind::Point if items.is_empty() => Parts::Positions(Vec::new()),
        Kind::Point => Parts::Positions(vec![position(value)?]),
        Kind::LineString => Parts::Positions(items.iter().map(position).collect::<Result<_, _>>()?),
        Kind::Polygon => {
            let ring = |ring: &Value| ring.as_array().ok_or(UNKNOWN)?.iter().map(position).collect();
            Parts::Rings(items.iter().map(ring).collect::<Result<_, Fault>>()?)
        }
        _ => {
            let of = kind.of_parts().ok_or(UNKNOWN)?;
            let part = |part| Ok(Geometry { kind: of, z: false, m: false, parts: coordinates(of, part)? });
            Parts::Geometries(items.iter().map(part).collect::<Result<_, Fault>>()?)
        }
    })
}

/// Two numbers, or three. A third that is missing is marked, since all positions must agree.
fn position(value: &Value) -> Result<Position, Fault> {
    let numbers = value.as_array().ok_or(UNKNOWN)?;
    if !(2..=3).contains(&numbers.len()) {
        return Err(UNKNOWN);
    }
    let mut position = [0.0, 0.0, f64::NAN, 0.0];
    for (place, number) in numbers.iter().enumerate() {
        position[place] = number.as_f64().filter(|number| number.is_finite()).ok_or(UNKNOWN)?;
    }
    Ok(position)
}

/// Whether positions have a third number, which all have or none; `None` without positions.
fn third_axis(geometry: &Geometry) -> Result<Option<bool>, Fault> {
    fn agree(axes: impl Iterator<Item = Result<Option<bool>, Fault>>) -> Result<Option<bool>, Fault> {
        let mut found = None;
        for axis in axes {
            if let Some(axis) = axis? {
                if found.is_some_and(|found| found != axis) {
                    return Err(UNKNOWN);
                }
                found = Some(axis);
            }
        }
        Ok(found)
    }
    let of = |position: &Position| Ok(Some(!position[2].is_nan()));
    match &geometry.parts {
        Parts::Positions(positions) => agree(positions.iter().map(of)),
        Parts::Rings(rings) => agree(rings.iter().flatten().map(of)),
        Parts::Geometries(parts) => agree(parts.iter().map(third_axis)),
    }
}

/// Gives the parts the axes of the whole.
fn set_axis(geometry: &mut Geometry) {
    let z = geometry.z;
    if let Parts::Geometries(parts) = &mut geometry.parts {
        for part in parts {
            part.z = z;
            set_axis(part);
        }
    }
}

/// Rounds the coordinates and boxes of a document in place.
pub(super) fn round(text: &str, decimals: u8) -> Result<String, Fault> {
    // The walk below may rely on the text being a document, and on its depth being bounded.
    let _: serde::de::IgnoredAny = serde_json::from_str(text).map_err(|_| UNKNOWN)?;
    let mut walk = Walk { text, at: 0, numbers: Vec::new() };
    walk.value(Place::Geometry)?;
    let rounded = round_numbers(walk.numbers.iter().map(|&(start, end)| &text[start..end]), decimals);
    let rounded = rounded.filter(|rounded| rounded.len() == walk.numbers.len()).ok_or(UNKNOWN)?;
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (&(start, end), number) in walk.numbers.iter().zip(rounded) {
        out.push_str(&text[copied..start]);
        out.push_str(&number);
        copied = end;
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

/// What stands where the walk is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A geometry, a feature, or a list of them.
    Geometry,
    /// Coordinates or a box.
    Numbers,
    /// Anything else, such as a feature's properties.
    Other,
}

/// Goes through a document that is known to be one, and notes where coordinates stand.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    numbers: Vec<(usize, usize)>,
}

impl Walk<'_> {
    fn peek(&mut self) -> Result<u8, Fault> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied().ok_or(UNKNOWN)
    }

    fn value(&mut self, place: Place) -> Result<(), Fault> {
        match self.peek()? {
            b'{' => self.members(place),
            b'[' => self.items(place),
            b'"' => self.string().map(drop),
            first => {
                let start = self.at;
                let rest = &self.text[start..];
                let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
                self.at += end;
                if place == Place::Numbers && (first == b'-' || first.is_ascii_digit()) {
                    self.numbers.push((start, self.at));
                }
                Ok(())
            }
        }
    }

    fn items(&mut self, place: Place) -> Result<(), Fault> {
        self.at += 1;
        while self.peek()? != b']' {
            self.value(place)?;
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Ok(())
    }

    fn members(&mut self, place: Place) -> Result<(), Fault> {
        self.at += 1;
        while self.peek()? != b'}' {
            let key = self.string()?;
            if place == Place::Geometry && key.contains('\\') {
                // Another spelling of a name that matters must not hide it.
                return Err(Fault::Unfit("a member's name is escaped"));
            }
            let inside = match (place, key) {
                (Place::Geometry, "coordinates" | "bbox") => Place::Numbers,
                (Place::Geometry, "geometry" | "geometries" | "features") => Place::Geometry,
                _ => Place::Other,
            };
            // The colon.
            self.peek()?;
            self.at += 1;
            self.value(inside)?;
            if self.peek()? == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Ok(())
    }

    /// A string without its quotes, as it is written.
    fn string(&mut self) -> Result<&str, Fault> {
        self.peek()?;
        let start = self.at + 1;
        let mut end = start;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(end).ok_or(UNKNOWN)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        self.at = end + 1;
        self.text.get(start..end).ok_or(UNKNOWN)
    }
}
