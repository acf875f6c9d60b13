//! Well-known binary: read with PostGIS's flags for axes and reference system or with ISO's codes, in either byte order;
//! written as ISO has it, little-endian, without a reference system.

use super::{Fault, Geometry, Kind, MAX_DEPTH, Parts, Position};

const Z: u32 = 0x8000_0000;
const M: u32 = 0x4000_0000;
const SRID: u32 = 0x2000_0000;
const SHORT: Fault = Fault::Malformed("a geometry that ends within one of its parts");

/// Reads a geometry and its reference system, 0 for none. Nothing is allocated for parts that are not there.
pub(crate) fn read(bytes: &[u8]) -> Result<(Geometry, i32), Fault> {
    let mut reader = Reader { rest: bytes, srid: 0 };
    let geometry = reader.geometry(0)?;
    if reader.rest.is_empty() {
        Ok((geometry, reader.srid))
    } else {
        Err(Fault::Malformed("a geometry that goes on after its last part"))
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    srid: i32,
}

impl Reader<'_> {
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*chunk)
    }

    fn u32(&mut self, little: bool) -> Result<u32, Fault> {
        let chunk = self.chunk()?;
        Ok(if little { u32::from_le_bytes(chunk) } else { u32::from_be_bytes(chunk) })
    }

    /// A count of parts of at least this width each.
    fn count(&mut self, little: bool, width: usize) -> Result<usize, Fault> {
        usize::try_from(self.u32(little)?)
            .ok()
            .filter(|&count| count <= self.rest.len() / width)
            .ok_or(Fault::Malformed("a geometry with an impossible count of parts"))
    }

    fn geometry(&mut self, depth: usize) -> Result<Geometry, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Unfit("collections are nested too deeply"));
        }
        let little = match self.chunk()? {
            [0] => false,
            [1] => true,
            _ => return Err(Fault::Malformed("a geometry in an unknown byte order")),
        };
        let code = self.u32(little)?;
        let iso = code & 0x0fff_ffff;
        let (z, m) = (code & Z != 0 || matches!(iso / 1000, 1 | 3), code & M != 0 || matches!(iso / 1000, 2 | 3));
        if code & SRID != 0 {
            let srid = self.u32(little)? as i32;
            if depth > 0 && srid != self.srid {
                return Err(Fault::Malformed("a geometry whose parts name another reference system"));
            }
            self.srid = srid;
        }
        let kind = Kind::ALL.iter().find(|(kind, ..)| *kind as u32 == iso % 1000).map(|(kind, ..)| *kind);
        let kind = match (kind, iso % 1000, iso / 1000) {
            (Some(kind), _, 0..=3) => kind,
            (None, 8..=17, 0..=3) => return Err(Fault::Unfit("it is a curve or a surface, which files do not hold")),
            _ => return Err(Fault::Malformed("a geometry of an unknown type")),
        };
        let width = 2 + usize::from(z) + usize::from(m);
        let parts = match kind {
            Kind::Point => {
                let position = self.position(little, width)?;
                // Nowhere, which has no other form.
                let nowhere = position[..width].iter().all(|number| number.is_nan());
                Parts::Positions(if nowhere { Vec::new() } else { vec![position] })
            }
            Kind::LineString => Parts::Positions(self.positions(little, width)?),
            Kind::Polygon => {
                let count = self.count(little, 4)?;
                Parts::Rings((0..count).map(|_| self.positions(little, width)).collect::<Result<_, _>>()?)
            }
            _ => {
                let count = self.count(little, 9)?;
                let parts: Vec<_> = (0..count).map(|_| self.geometry(depth + 1)).collect::<Result<_, _>>()?;
                let wanted = kind.of_parts();
                let fit = parts
                    .iter()
                    .all(|part| (part.z, part.m) == (z, m) && wanted.is_none_or(|wanted| part.kind == wanted));
                if !fit {
                    return Err(Fault::Malformed("a geometry with parts of another type"));
                }
                Parts::Geometries(parts)
            }
        };
        Ok(Geometry { kind, z, m, parts })
    }

    fn positions(&mut self, little: bool, width: usize) -> Result<Vec<Position>, Fault> {
        let count = self.count(little, 8 * width)?;
        (0..count).map(|_| self.position(little, width)).collect()
    }

    fn position(&mut self, little: bool, width: usize) -> Result<Position, Fault> {
        let mut position = [0.0; 4];
        for number in &mut position[..width] {
            let chunk = self.chunk()?;
            *number = if little { f64::from_le_bytes(chunk) } else { f64::from_be_bytes(chunk) };
        }
        Ok(position)
    }
}

/// Writes a geometry.
pub(super) fn write(geometry: &Geometry) -> Vec<u8> {
    let mut out = Vec::new();
    whole(geometry, &mut out);
    out
}

fn whole(geometry: &Geometry, out: &mut Vec<u8>) {
    let axes = 1000 * u32::from(geometry.z) + 2000 * u32::from(geometry.m);
    out.push(1);
    out.extend((geometry.kind as u32 + axes).to_le_bytes());
    let width = geometry.width();
    match &geometry.parts {
        Parts::Positions(positions) if geometry.kind == Kind::Point => {
            position(positions.first().unwrap_or(&[f64::NAN; 4]), width, out);
        }
        Parts::Positions(positions) => line(positions, width, out),
        Parts::Rings(rings) => {
            count(rings.len(), out);
            rings.iter().for_each(|ring| line(ring, width, out));
        }
        Parts::Geometries(parts) => {
            count(parts.len(), out);
            parts.iter().for_each(|part| whole(part, out));
        }
    }
}

fn line(positions: &[Position], width: usize, out: &mut Vec<u8>) {
    count(positions.len(), out);
    positions.iter().for_each(|at| position(at, width, out));
}

fn position(position: &Position, width: usize, out: &mut Vec<u8>) {
    position[..width].iter().for_each(|number| out.extend(number.to_le_bytes()));
}

fn count(count: usize, out: &mut Vec<u8>) {
    // The server's own values are below 1 GiB, so there are never more parts than this.
    out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}
