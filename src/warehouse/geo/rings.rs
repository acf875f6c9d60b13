//! What rounding must not make of rings and lines without saying so: open, collapsed, or crossing themselves or each
//! other.
//!
//! Rounded coordinates are whole numbers of their last decimal, so that every question of orientation is answered
//! exactly. Segments are compared in a sweep over x; a geometry for which that is too much work counts as not checked,
//! which is a fault too. The answer is on the safe side: rings that only touch, or did so before, are reported.

use super::{Geometry, Kind, Parts, Position};

/// Whole numbers that are floats too end here.
const MOST: f64 = 9e15;
/// Comparisons that are always allowed, and those for each segment.
const WORK: usize = 1_000_000;
const WORK_EACH: usize = 64;

type Point = (i64, i64);

/// A side of a ring: the ring, the side's place in it, and its ends.
#[derive(Debug, Clone, Copy)]
struct Side {
    ring: usize,
    place: usize,
    from: Point,
    to: Point,
}

impl Side {
    fn xs(&self) -> (i64, i64) {
        (self.from.0.min(self.to.0), self.from.0.max(self.to.0))
    }

    fn ys(&self) -> (i64, i64) {
        (self.from.1.min(self.to.1), self.from.1.max(self.to.1))
    }
}

/// Looks at a geometry whose coordinates are rounded to `decimals`; the fault in words.
pub(crate) fn check(geometry: &Geometry, decimals: u8) -> Result<(), &'static str> {
    match (&geometry.parts, geometry.kind) {
        (Parts::Positions(positions), Kind::LineString) => {
            let first = positions.first();
            if positions.len() > 1 && positions.iter().all(|at| first.is_some_and(|first| at[..2] == first[..2])) {
                return Err("rounding would make a line a point");
            }
            Ok(())
        }
        (Parts::Positions(_), _) => Ok(()),
        (Parts::Rings(rings), _) => check_rings(rings.iter().map(Vec::as_slice), decimals),
        // The polygons of one geometry must not overlap either.
        (Parts::Geometries(parts), Kind::MultiPolygon) => {
            let rings = parts.iter().filter_map(|part| match &part.parts {
                Parts::Rings(rings) => Some(rings.iter().map(Vec::as_slice)),
                _ => None,
            });
            check_rings(rings.flatten(), decimals)
        }
        (Parts::Geometries(parts), _) => parts.iter().try_for_each(|part| check(part, decimals)),
    }
}

fn check_rings<'a>(rings: impl Iterator<Item = &'a [Position]>, decimals: u8) -> Result<(), &'static str> {
    let scale = 10_f64.powi(decimals.into());
    let whole = |number: f64| {
        let scaled = (number * scale).round();
        (scaled.abs() < MOST).then_some(scaled as i64).ok_or("coordinates are too large to be checked after rounding")
    };
    let mut sides = Vec::new();
    let mut lengths = Vec::new();
    for ring in rings {
        let mut points: Vec<Point> =
            ring.iter().map(|at| Ok((whole(at[0])?, whole(at[1])?))).collect::<Result<_, &'static str>>()?;
        if points.first() != points.last() {
            return Err("rounding would leave a ring open");
        }
        points.dedup();
        // Three corners, and the first again.
        if points.len() < 4 && !ring.is_empty() {
            return Err("rounding would make a ring collapse");
        }
        let corners = points.windows(2).enumerate();
        sides.extend(corners.map(|(place, ends)| Side { ring: lengths.len(), place, from: ends[0], to: ends[1] }));
        lengths.push(points.len().saturating_sub(1));
    }
    cross(sides, &lengths)
}

fn cross(mut sides: Vec<Side>, lengths: &[usize]) -> Result<(), &'static str> {
    let mut left = WORK + WORK_EACH * sides.len();
    sides.sort_unstable_by_key(Side::xs);
    let mut active: Vec<Side> = Vec::new();
    for side in sides {
        let (start, _) = side.xs();
        left = left.checked_sub(active.len()).ok_or("the geometry is too intricate to be checked after rounding")?;
        active.retain(|other| other.xs().1 >= start);
        let (low, high) = side.ys();
        for other in &active {
            let (other_low, other_high) = other.ys();
            if other_low <= high && other_high >= low && touch(&side, other, lengths) {
                return Err("rounding would make rings touch or cross");
            }
        }
        active.push(side);
    }
    Ok(())
}

/// Whether two sides have a point in common that they must not have.
fn touch(a: &Side, b: &Side, lengths: &[usize]) -> bool {
    if a.ring == b.ring {
        let length = lengths[a.ring];
        let follows = |one: &Side, next: &Side| (one.place + 1) % length == next.place;
        for (one, next) in [(a, b), (b, a)] {
            if follows(one, next) {
                // They share a corner; folding back onto each other is what is left.
                let back = (i128::from(one.from.0) - i128::from(one.to.0))
                    * (i128::from(next.to.0) - i128::from(one.to.0))
                    + (i128::from(one.from.1) - i128::from(one.to.1)) * (i128::from(next.to.1) - i128::from(one.to.1));
                return turn(one.from, one.to, next.to) == 0 && back > 0;
            }
        }
    }
    let turns =
        [turn(a.from, a.to, b.from), turn(a.from, a.to, b.to), turn(b.from, b.to, a.from), turn(b.from, b.to, a.to)];
    if turns[0] * turns[1] < 0 && turns[2] * turns[3] < 0 {
        return true;
    }
    let on = |turn: i128, side: &Side, point: Point| {
        let ((left, right), (low, high)) = (side.xs(), side.ys());
        turn == 0 && (left..=right).contains(&point.0) && (low..=high).contains(&point.1)
    };
    on(turns[0], a, b.from) || on(turns[1], a, b.to) || on(turns[2], b, a.from) || on(turns[3], b, a.to)
}

/// On which side of the line through `a` and `b` the point `c` lies: -1, 0 or 1.
fn turn(a: Point, b: Point, c: Point) -> i128 {
    let difference = |one: i64, other: i64| i128::from(one) - i128::from(other);
    (difference(b.0, a.0) * difference(c.1, a.1) - difference(b.1, a.1) * difference(c.0, a.0)).signum()
}
