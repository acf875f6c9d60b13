//! Cuts the time of a table into partitions: about as large as was asked for, never longer to read than a worker should
//! lose, and never so that the warehouse reads a table once for each.
//!
//! The warehouse's planner is asked what it expects of ranges of time, the heaviest again in halves, and light
//! neighbours are put together. What it answers decides where the cuts are and nothing else: whatever it says, the
//! slices are the window, at whole seconds, without a gap and without an overlap.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use classification::Predicate;

use crate::jobs::Window;
use crate::warehouse::{Estimate, ScanSpec, TimeRange, Warehouse, WarehouseError};

/// The most partitions of one table: a file each, and every one a query.
pub(super) const MOST_PARTITIONS: usize = 1_000;
/// How long a partition should take to read, about: so much is lost when a worker dies.
const READING_SECONDS: f64 = 20.0;
/// Rows a second of one partition. `make bench` reads some million a second with two partitions at once; half of that
/// for each, and half again for a warehouse and a network that have other things to do.
const ROWS_PER_SECOND: f64 = 250_000.0;
/// Bytes a second of one partition: those of that bench's rows, about 270 bytes each.
const BYTES_PER_SECOND: f64 = (64 << 20) as f64;
/// The ranges that are asked about first. They divide a day at times that people write.
const FIRST_CELLS: [i64; 4] = [12, 24, 48, 96];
/// A range is cut in two while it holds more than this share of a partition.
const FINE: f64 = 0.5;
/// Parts of a partition that slices are put together of, so that they come near their limit.
const PARTS: f64 = 8.0;
/// The most parts of one range.
const MOST_PARTS: f64 = 128.0;
/// How far a slice may be above its limit when it is put together.
const SLACK: f64 = 1.1;
/// The most questions about halves of ranges. A second is found in a day with 34 of them.
const MOST_QUESTIONS: usize = 256;
/// How often cuts are taken back and the rest is asked about again. Longer than that no use of cutting is seen.
const MOST_ROUNDS: usize = 6;
/// A slice with less than this share of a partition is no file of its own.
const LIGHT: f64 = 0.125;
/// How many times one scan's cost all slices together may be. An index on rows that lie in its order costs up to twice
/// a scan of the table, a block range index up to three times; where they lie anywhere, each slice may read it all.
const WORTH: f64 = 3.0;
/// Slices that cost this share of the whole scan each, on average, are the whole scan again and again.
const HARDLY_LESS: f64 = 0.9;

/// A range of time, and the rows that are to be read for it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    rows: f64,
}

/// One partition of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slice {
    /// Its first instant.
    pub(super) start: DateTime<Utc>,
    /// The first instant after it.
    pub(super) end: DateTime<Utc>,
    /// The rows expected of it.
    pub(super) rows: f64,
}

/// Cuts a scan of this window, of which the warehouse expects so much as a whole, into slices of about `target` bytes
/// each as it sends them.
///
/// # Errors
/// Those of the warehouse's estimates.
pub(super) async fn slices(
    warehouse: &dyn Warehouse,
    scan: &ScanSpec,
    whole: &Estimate,
    window: Window,
    target: u64,
) -> Result<Vec<Slice>, WarehouseError> {
    let one = Slice { start: window.start, end: window.end, rows: whole.rows };
    // What is read counts too: rows that the policy holds back take their time, and its selectivity is often guessed.
    let read = ScanSpec { rows: Predicate::Always, ..scan.clone() };
    let total = warehouse.estimate(&read).await?.rows.max(whole.rows);
    let limit = limit(whole, total, target);
    if total <= limit {
        return Ok(vec![one]);
    }
    let seams = warehouse.seams(scan).await?;
    let wanted = merged(&cells(warehouse, &read, window, &seams, total, limit).await?, limit);
    let count = wanted.len();
    let mut cut = affordable(warehouse, scan, whole, wanted).await?;
    if cut.len() < count && !seams.is_empty() {
        // The table itself is cut, and its parts have no index: a slice is some of its parts.
        let parts = estimated(warehouse, &read, edges(window, &seams, 1)).await?;
        let parts = affordable(warehouse, scan, whole, merged(&parts, limit)).await?;
        if parts.len() > cut.len() {
            cut = parts;
        }
    }
    Ok(if cut.len() > 1 { cut } else { vec![one] })
}

/// The rows to be read for one slice: those that send the target's bytes, no more than can be read in time, and no
/// fewer than make as many slices as there may be.
fn limit(whole: &Estimate, total: f64, target: u64) -> f64 {
    let row_bytes = whole.row_bytes.max(1.0);
    // Of the rows that are read, those that are sent.
    let share = (whole.rows / total).clamp(f64::MIN_POSITIVE, 1.0);
    let sent = target.max(1) as f64 / row_bytes / share;
    let read = sent.min(READING_SECONDS * ROWS_PER_SECOND).min(READING_SECONDS * BYTES_PER_SECOND / row_bytes);
    read.max(total / MOST_PARTITIONS as f64).max(1.0)
}

/// Asks about ranges, and about the heavy ones again in halves, down to a second.
async fn cells(
    warehouse: &dyn Warehouse,
    read: &ScanSpec,
    window: Window,
    seams: &[DateTime<Utc>],
    total: f64,
    limit: f64,
) -> Result<Vec<Cell>, WarehouseError> {
    let wanted = total / limit / FINE;
    let first = FIRST_CELLS.into_iter().find(|&cells| cells as f64 >= wanted).unwrap_or(FIRST_CELLS[3]);
    let mut cells = estimated(warehouse, read, edges(window, seams, first)).await?;
    let mut questions = 0;
    while questions < MOST_QUESTIONS {
        let mut heavy: Vec<usize> =
            (0..cells.len()).filter(|&i| cells[i].rows > FINE * limit && middle(&cells[i]).is_some()).collect();
        heavy.sort_by(|&a, &b| cells[b].rows.total_cmp(&cells[a].rows));
        heavy.truncate((MOST_QUESTIONS - questions) / 2);
        if heavy.is_empty() {
            break;
        }
        let halves: Vec<TimeRange> = heavy
            .iter()
            .filter_map(|&i| middle(&cells[i]).map(|middle| [(cells[i].start, middle), (middle, cells[i].end)]))
            .flatten()
            .collect();
        questions += halves.len();
        let halves = estimated(warehouse, read, halves).await?;
        let heavy: BTreeSet<usize> = heavy.into_iter().collect();
        cells = cells.into_iter().enumerate().filter(|(i, _)| !heavy.contains(i)).map(|(_, cell)| cell).collect();
        cells.extend(halves);
        cells.sort_by_key(|cell| cell.start);
    }
    // From here on rows are taken to be spread evenly.
    Ok(cells.into_iter().flat_map(|cell| evenly(cell, limit)).collect())
}

async fn estimated(
    warehouse: &dyn Warehouse,
    read: &ScanSpec,
    ranges: Vec<TimeRange>,
) -> Result<Vec<Cell>, WarehouseError> {
    let found = warehouse.estimate_ranges(read, &ranges).await?;
    Ok(ranges.into_iter().zip(found).map(|((start, end), found)| Cell { start, end, rows: found.rows }).collect())
}

/// The window in so many ranges of equal length, cut at its seams too; all at whole seconds from its start.
fn edges(window: Window, seams: &[DateTime<Utc>], count: i64) -> Vec<TimeRange> {
    let length = window.end - window.start;
    let count = count.min(length.num_seconds()).max(1);
    let mut edges: Vec<DateTime<Utc>> =
        (1..count).map(|i| window.start + TimeDelta::seconds(length.num_seconds() * i / count)).collect();
    let whole = |at: &DateTime<Utc>| (*at - window.start).subsec_nanos() == 0;
    edges.extend(seams.iter().filter(|at| **at > window.start && **at < window.end && whole(at)));
    edges.extend([window.start, window.end]);
    edges.sort();
    edges.dedup();
    edges.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// A whole second near the middle of a range; none where it has no second to be cut at.
fn middle(cell: &Cell) -> Option<DateTime<Utc>> {
    let at = cell.start + TimeDelta::seconds((cell.end - cell.start).num_seconds() / 2);
    (at > cell.start && at < cell.end).then_some(at)
}

/// A range in equal parts that slices can be put together of.
fn evenly(cell: Cell, limit: f64) -> Vec<Cell> {
    // Bounded before it becomes an integer. What is left so heavy after all questions is beyond what is expected.
    let parts = (cell.rows / limit * PARTS).ceil().clamp(1.0, MOST_PARTS) as i64;
    let ranges = edges(Window { start: cell.start, end: cell.end }, &[], parts);
    let rows = cell.rows / ranges.len() as f64;
    ranges.into_iter().map(|(start, end)| Cell { start, end, rows }).collect()
}

/// Puts neighbours together while they fit, and then those that are hardly a file to a neighbour. The cells follow one
/// another without a gap, and so do what is made of them.
fn merged(cells: &[Cell], limit: f64) -> Vec<Cell> {
    let mut limit = limit;
    loop {
        let slices = merged_once(cells, limit);
        if slices.len() <= MOST_PARTITIONS {
            return slices;
        }
        limit *= 2.0;
    }
}

fn merged_once(cells: &[Cell], limit: f64) -> Vec<Cell> {
    let mut slices: Vec<Cell> = Vec::new();
    for &cell in cells {
        match slices.last_mut() {
            Some(last) if last.rows + cell.rows <= SLACK * limit => join(last, &cell),
            _ => slices.push(cell),
        }
    }
    let mut kept: Vec<Cell> = Vec::with_capacity(slices.len());
    for (i, slice) in slices.iter().enumerate() {
        // To the one before, unless the one after is lighter; and whoever is heavy takes the light one before it.
        let next = slices.get(i + 1).map_or(f64::INFINITY, |next| next.rows);
        match kept.last_mut() {
            Some(last) if last.rows < LIGHT * limit => join(last, slice),
            Some(last) if slice.rows < LIGHT * limit && last.rows <= next => join(last, slice),
            _ => kept.push(*slice),
        }
    }
    kept
}

fn join(to: &mut Cell, next: &Cell) {
    to.end = next.end;
    to.rows += next.rows;
}

/// Takes back the cuts that cost too much: no relation is read from end to end by two slices, and all slices together
/// cost little more than one scan. None is left where cutting does not help.
async fn affordable(
    warehouse: &dyn Warehouse,
    scan: &ScanSpec,
    whole: &Estimate,
    mut cells: Vec<Cell>,
) -> Result<Vec<Slice>, WarehouseError> {
    for _ in 0..MOST_ROUNDS {
        let ranges: Vec<TimeRange> = cells.iter().map(|cell| (cell.start, cell.end)).collect();
        let found = warehouse.estimate_ranges(scan, &ranges).await?;
        let apart = apart(&cells, &found);
        if apart.len() < cells.len() {
            // What is put together is asked about again; there are ever fewer.
            cells = apart;
            continue;
        }
        let cost: f64 = found.iter().map(|found| found.cost).sum();
        let too_much = cost > WORTH * whole.cost || cost > HARDLY_LESS * cells.len() as f64 * whole.cost;
        if too_much {
            return Ok(Vec::new());
        }
        return Ok(cells
            .into_iter()
            .zip(found)
            .map(|(cell, found)| Slice { start: cell.start, end: cell.end, rows: found.rows })
            .collect());
    }
    Ok(Vec::new())
}

/// Whether two of these slices would read one relation from end to end each.
pub(super) fn share(found: &[Estimate]) -> bool {
    let mut seen = BTreeSet::new();
    found.iter().flat_map(|found| &found.read_whole).any(|relation| !seen.insert(relation))
}

/// Puts together the slices that would read one relation from end to end each, with all that is between them.
fn apart(cells: &[Cell], found: &[Estimate]) -> Vec<Cell> {
    // Where each relation is read for the last time.
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, found) in found.iter().enumerate() {
        last.extend(found.read_whole.iter().map(|relation| (relation.as_str(), i)));
    }
    let mut apart: Vec<Cell> = Vec::with_capacity(cells.len());
    let mut until = None;
    for (i, (cell, found)) in cells.iter().zip(found).enumerate() {
        match apart.last_mut() {
            Some(open) if until >= Some(i) => join(open, cell),
            _ => apart.push(*cell),
        }
        until = until.max(found.read_whole.iter().filter_map(|relation| last.get(relation.as_str()).copied()).max());
    }
    apart
}

#[cfg(test)]
pub(super) mod tests;
