//! Well-known text: OGC 06-103r4, with PostGIS's `SRID=…;` in front where it stands there. Without `Z` or `M` the count of
//! numbers decides, as PostGIS writes it.

use std::fmt::Write;

use super::{Fault, Geometry, Kind, MAX_DEPTH, Parts, Position};

/// What is said of every text that is not understood.
pub(super) const UNKNOWN: Fault = Fault::Unfit("the text is no well-known text of points, lines and polygons");

/// Reads a geometry and the reference system that it names, 0 for none.
pub(super) fn read(text: &str) -> Result<(Geometry, i32), Fault> {
    let (srid, text) = match text.split_once(';') {
        Some((head, rest)) => {
            let (name, number) = head.split_once('=').ok_or(UNKNOWN)?;
            let srid = number.trim().parse().map_err(|_| UNKNOWN)?;
            (Some(srid).filter(|_| name.trim().eq_ignore_ascii_case("SRID")).ok_or(UNKNOWN)?, rest)
        }
        None => (0, text),
    };
    let mut reader = Reader { rest: text };
    let geometry = reader.geometry(0)?;
    reader.skip_spaces();
    if reader.rest.is_empty() { Ok((geometry, srid)) } else { Err(UNKNOWN) }
}

struct Reader<'a> {
    rest: &'a str,
}

/// What markers and the first position say of the coordinates.
#[derive(Clone, Copy, Default)]
struct Width {
    marked: Option<(bool, bool)>,
    numbers: usize,
}

impl Width {
    fn axes(self) -> (bool, bool) {
        self.marked.unwrap_or((self.numbers >= 3, self.numbers == 4))
    }
}

impl Reader<'_> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, byte: char) -> bool {
        self.skip_spaces();
        match self.rest.strip_prefix(byte) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, byte: char) -> Result<(), Fault> {
        if self.eat(byte) { Ok(()) } else { Err(UNKNOWN) }
    }

    /// The next word in capitals; empty where there is none.
    fn word(&mut self) -> String {
        self.skip_spaces();
        let end = self.rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_ascii_uppercase()
    }

    fn geometry(&mut self, depth: usize) -> Result<Geometry, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Unfit("collections are nested too deeply"));
        }
        let word = self.word();
        let kind = Kind::ALL.iter().find(|(_, name, _)| *name == word).map(|(kind, ..)| *kind).ok_or(UNKNOWN)?;
        let mut width = Width::default();
        let mut next = self.word();
        if let Some(axes) = [("Z", (true, false)), ("M", (false, true)), ("ZM", (true, true))]
            .into_iter()
            .find_map(|(name, axes)| (name == next).then_some(axes))
        {
            width.marked = Some(axes);
            next = self.word();
        }
        let empty = match next.as_str() {
            "EMPTY" => true,
            "" => false,
            _ => return Err(UNKNOWN),
        };
        let parts = match (kind, empty) {
            (Kind::Point | Kind::LineString, true) => Parts::Positions(Vec::new()),
            (Kind::Polygon, true) => Parts::Rings(Vec::new()),
            (_, true) => Parts::Geometries(Vec::new()),
            (Kind::Point | Kind::LineString, false) => Parts::Positions(self.positions(&mut width)?),
            (Kind::Polygon, false) => Parts::Rings(self.rings(&mut width)?),
            (_, false) => Parts::Geometries(self.parts(kind, &mut width, depth)?),
        };
        if kind == Kind::Point && matches!(&parts, Parts::Positions(positions) if !empty && positions.len() != 1) {
            return Err(UNKNOWN);
        }
        let (z, m) = width.axes();
        Ok(spread(Geometry { kind, z, m, parts }))
    }

    fn parts(&mut self, kind: Kind, width: &mut Width, depth: usize) -> Result<Vec<Geometry>, Fault> {
        self.expect('(')?;
        let mut parts: Vec<Geometry> = Vec::new();
        loop {
            let of = |parts| Geometry { kind: kind.of_parts().unwrap_or(kind), z: false, m: false, parts };
            parts.push(match kind {
                Kind::MultiPoint => {
                    self.skip_spaces();
                    of(Parts::Positions(if self.rest.starts_with('(') {
                        self.positions(width)?
                    } else {
                        vec![self.position(width)?]
                    }))
                }
                Kind::MultiLineString => of(Parts::Positions(self.positions(width)?)),
                Kind::MultiPolygon => of(Parts::Rings(self.rings(width)?)),
                _ => {
                    let part = self.geometry(depth + 1)?;
                    width.marked.get_or_insert((part.z, part.m));
                    part
                }
            });
            if !self.eat(',') {
                break;
            }
        }
        self.expect(')')?;
        let axes = width.axes();
        let same = parts.iter().all(|part| kind != Kind::GeometryCollection || (part.z, part.m) == axes);
        if same { Ok(parts) } else { Err(UNKNOWN) }
    }

    fn rings(&mut self, width: &mut Width) -> Result<Vec<Vec<Position>>, Fault> {
        self.expect('(')?;
        let mut rings = vec![self.positions(width)?];
        while self.eat(',') {
            rings.push(self.positions(width)?);
        }
        self.expect(')')?;
        Ok(rings)
    }

    fn positions(&mut self, width: &mut Width) -> Result<Vec<Position>, Fault> {
        self.expect('(')?;
        let mut positions = vec![self.position(width)?];
        while self.eat(',') {
            positions.push(self.position(width)?);
        }
        self.expect(')')?;
        Ok(positions)
    }

    fn position(&mut self, width: &mut Width) -> Result<Position, Fault> {
        let mut position = [0.0; 4];
        let mut count = 0;
        loop {
            self.skip_spaces();
            let end = self.rest.find([' ', '\t', '\n', '\r', ',', '(', ')']).unwrap_or(self.rest.len());
            if end == 0 {
                break;
            }
            let (number, rest) = self.rest.split_at(end);
            let number = number.parse().ok().filter(|number: &f64| number.is_finite());
            *position.get_mut(count).ok_or(UNKNOWN)? = number.ok_or(UNKNOWN)?;
            count += 1;
            self.rest = rest;
        }
        let marked = width.marked.map(|(z, m)| 2 + usize::from(z) + usize::from(m));
        if width.numbers == 0 {
            width.numbers = count;
        }
        if count < 2 || count != width.numbers || marked.is_some_and(|marked| marked != count) {
            return Err(UNKNOWN);
        }
        Ok(position)
    }
}

/// Gives the parts of a geometry the axes of the whole.
fn spread(mut geometry: Geometry) -> Geometry {
    let (z, m) = (geometry.z, geometry.m);
    if let (Parts::Geometries(parts), true) = (&mut geometry.parts, geometry.kind != Kind::GeometryCollection) {
        for part in parts {
            (part.z, part.m) = (z, m);
        }
    }
    geometry
}

/// Writes a geometry.
pub(super) fn write(geometry: &Geometry) -> Result<String, Fault> {
    let mut out = String::new();
    whole(geometry, &mut out)?;
    Ok(out)
}

fn whole(geometry: &Geometry, out: &mut String) -> Result<(), Fault> {
    out.push_str(geometry.kind.word());
    out.push_str(match (geometry.z, geometry.m) {
        (false, false) => "",
        (true, false) => " Z ",
        (false, true) => " M ",
        (true, true) => " ZM ",
    });
    inside(geometry, out)
}

fn inside(geometry: &Geometry, out: &mut String) -> Result<(), Fault> {
    let width = geometry.width();
    match &geometry.parts {
        Parts::Positions(positions) => line(positions, width, out),
        Parts::Rings(rings) => list(rings, out, |ring, out| line(ring, width, out)),
        Parts::Geometries(parts) if geometry.kind == Kind::GeometryCollection => list(parts, out, whole),
        Parts::Geometries(parts) => list(parts, out, inside),
    }
}

fn line(positions: &[Position], width: usize, out: &mut String) -> Result<(), Fault> {
    list(positions, out, |position, out| {
        for (place, number) in position[..width].iter().enumerate() {
            if !number.is_finite() {
                return Err(Fault::Unfit("a coordinate is not a number"));
            }
            let _ = write!(out, "{}{number}", if place == 0 { "" } else { " " });
        }
        Ok(())
    })
}

fn list<T>(items: &[T], out: &mut String, item: impl Fn(&T, &mut String) -> Result<(), Fault>) -> Result<(), Fault> {
    if items.is_empty() {
        out.push_str(if out.ends_with([' ', '(', ',']) { "EMPTY" } else { " EMPTY" });
        return Ok(());
    }
    out.push('(');
    for (place, part) in items.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        item(part, out)?;
    }
    out.push(')');
    Ok(())
}
