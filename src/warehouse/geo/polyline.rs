//! Encoded polylines: Google's "Encoded Polyline Algorithm Format", latitude (y) before longitude (x).

use super::{Fault, Geometry, Kind, Parts};

/// Writes a point or a line in two dimensions, whose coordinates are rounded to `decimals` already.
pub(super) fn write(geometry: &Geometry, decimals: u8) -> Result<String, Fault> {
    let positions = match (&geometry.parts, geometry.kind, geometry.width()) {
        (Parts::Positions(positions), Kind::Point | Kind::LineString, 2) => positions,
        _ => return Err(Fault::Unfit("a polyline holds points and lines of two dimensions only")),
    };
    let scale = 10_f64.powi(decimals.into());
    let mut out = String::new();
    let mut last = [0_i64; 2];
    for &[x, y, ..] in positions {
        for (last, number) in last.iter_mut().zip([y, x]) {
            let scaled = (number * scale).round();
            // Below this every whole number is a float, so nothing was lost.
            if scaled.abs() >= 9e15 {
                return Err(Fault::Unfit("a coordinate is too large for a polyline"));
            }
            let next = scaled as i64;
            number_to(next - *last, &mut out);
            *last = next;
        }
    }
    Ok(out)
}

/// Five bits a character, the lowest first; the sign is the lowest bit.
fn number_to(delta: i64, out: &mut String) {
    let mut left = ((delta << 1) ^ (delta >> 63)) as u64;
    while left >= 0x20 {
        out.push(char::from((0x20 | (left & 0x1f)) as u8 + 63));
        left >>= 5;
    }
    out.push(char::from(left as u8 + 63));
}
