use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chrono::TimeZone;
use classification::rules::TypeProfile;
use classification::{PolicyColumn, TableName};
use proptest::prelude::*;

use super::*;
use crate::warehouse::{BatchStream, HeldSnapshot, ScanContext, TableShape, TimeSlice, TimeUnit};

/// Midnight of some day, in seconds.
const DAY: i64 = 1_772_409_600;

/// A planner that answers what a test wants, in seconds since 1970.
pub(in crate::pipeline) struct Planner<F> {
    answer: F,
    seams: Vec<DateTime<Utc>>,
    /// Of the rows of a range, those that leave where there are conditions.
    leaving: f64,
    asked: AtomicUsize,
}

impl<F: Fn(i64, i64) -> Estimate + Send + Sync> Planner<F> {
    pub(in crate::pipeline) fn new(answer: F) -> Self {
        Self { answer, seams: Vec::new(), leaving: 1.0, asked: AtomicUsize::new(0) }
    }

    fn expects(&self, scan: &ScanSpec, (start, end): TimeRange) -> Estimate {
        let found = (self.answer)(start.timestamp(), end.timestamp());
        let share = if scan.rows == Predicate::Always { 1.0 } else { self.leaving };
        Estimate { rows: found.rows * share, ..found }
    }
}

impl<F> std::fmt::Debug for Planner<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Planner")
    }
}

#[async_trait]
impl<F: Fn(i64, i64) -> Estimate + Send + Sync> Warehouse for Planner<F> {
    async fn check(&self) -> Result<(), WarehouseError> {
        unreachable!("planning slices asks for estimates alone")
    }

    async fn catalog(&self, _: &[TableName]) -> Result<Vec<TableShape>, WarehouseError> {
        unreachable!("planning slices asks for estimates alone")
    }

    async fn estimate(&self, scan: &ScanSpec) -> Result<Estimate, WarehouseError> {
        let slice = scan.slice.as_ref().unwrap();
        Ok(self.expects(scan, (slice.start, slice.end)))
    }

    async fn estimate_ranges(&self, scan: &ScanSpec, ranges: &[TimeRange]) -> Result<Vec<Estimate>, WarehouseError> {
        self.asked.fetch_add(ranges.len(), Ordering::Relaxed);
        Ok(ranges.iter().map(|range| self.expects(scan, *range)).collect())
    }

    async fn seams(&self, _: &ScanSpec) -> Result<Vec<DateTime<Utc>>, WarehouseError> {
        Ok(self.seams.clone())
    }

    async fn count(&self, _: &TableName, _: Option<&TimeSlice>, _: &[Predicate]) -> Result<Vec<i64>, WarehouseError> {
        unreachable!("planning slices asks for estimates alone")
    }

    async fn count_timeless(&self, _: &TableName, _: &TimeSlice, _: &Predicate) -> Result<i64, WarehouseError> {
        unreachable!("planning slices asks for estimates alone")
    }

    async fn hold_snapshot(&self, _: &str, _: DateTime<Utc>) -> Result<Option<Box<dyn HeldSnapshot>>, WarehouseError> {
        unreachable!("planning slices asks for estimates alone")
    }

    async fn scan(&self, _: &ScanSpec, _: &ScanContext) -> Result<Box<dyn BatchStream>, WarehouseError> {
        unreachable!("planning slices asks for estimates alone")
    }
}

fn at(second: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(second, 0).unwrap()
}

/// A scan of all rows of a range of time.
pub(in crate::pipeline) fn scan(start: DateTime<Utc>, end: DateTime<Utc>) -> ScanSpec {
    let (column, zone) = ("at".to_owned(), "UTC".to_owned());
    ScanSpec {
        table: "s.t".parse().unwrap(),
        columns: Vec::<PolicyColumn>::new(),
        rows: Predicate::Always,
        slice: Some(TimeSlice { column, unit: TimeUnit::Timestamp, zone, start, end }),
        guards: Vec::new(),
        type_profile: TypeProfile::Portable,
        options: BTreeMap::new(),
    }
}

/// Slices of a window of so many seconds as seconds from its start, with their rows, and the number of questions.
async fn cut(
    seconds: i64,
    target: u64,
    seams: &[i64],
    answer: impl Fn(i64, i64) -> Estimate + Send + Sync,
) -> (Vec<(i64, i64, f64)>, usize) {
    let window = Window { start: at(DAY), end: at(DAY + seconds) };
    let seams = seams.iter().map(|&seam| at(DAY + seam)).collect();
    let planner = Planner { seams, ..Planner::new(|a: i64, b: i64| answer(a - DAY, b - DAY)) };
    let scan = scan(window.start, window.end);
    let whole = planner.estimate(&scan).await.unwrap();
    let found = slices(&planner, &scan, &whole, window, target).await.unwrap();
    let found = found.iter().map(|it| (it.start.timestamp() - DAY, it.end.timestamp() - DAY, it.rows)).collect();
    (found, planner.asked.into_inner())
}

/// As an index on time makes it: rows of 100 bytes that cost one each.
pub(in crate::pipeline) fn indexed(rows: f64) -> Estimate {
    Estimate { rows, row_bytes: 100.0, cost: rows, read_whole: BTreeSet::new() }
}

/// The seconds that two ranges share.
fn shared(a: (i64, i64), b: (i64, i64)) -> f64 {
    (a.1.min(b.1) - a.0.max(b.0)).max(0) as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn slices_tile_the_window_whatever_the_estimates_say(
        seconds in 1_i64..90_000,
        target in prop_oneof![Just(0_u64), 1..10_000_u64, Just(u64::MAX)],
        seams in prop::collection::vec(-100_i64..100_000, 0..5),
        answers in prop::collection::vec(
            (
                prop_oneof![0.0..1e4_f64, Just(0.0), Just(f64::INFINITY), Just(f64::NAN), Just(-1.0), Just(1e300)],
                prop_oneof![Just(100.0), Just(0.0), Just(f64::NAN)],
                prop_oneof![1.0..1e4_f64, Just(0.0), Just(f64::INFINITY)],
                0_u8..12,
            ),
            1..7,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (found, asked) = runtime.block_on(cut(seconds, target, &seams, |a, b| {
            let (rows, row_bytes, cost, relation) = answers[((a * 31 + b) as usize) % answers.len()];
            let read_whole = if relation < 4 { BTreeSet::from([relation.to_string()]) } else { BTreeSet::new() };
            Estimate { rows, row_bytes, cost, read_whole }
        }));
        prop_assert!(found.len() <= MOST_PARTITIONS);
        prop_assert!(asked < 2 * MOST_ROUNDS * MOST_PARTITIONS + MOST_QUESTIONS + 96 + 10, "{}", asked);
        prop_assert_eq!(found[0].0, 0);
        prop_assert_eq!(found[found.len() - 1].1, seconds);
        prop_assert!(found.iter().all(|(start, end, _)| start < end));
        prop_assert!(found.windows(2).all(|pair| pair[0].1 == pair[1].0));
    }
}

#[tokio::test]
async fn even_rows_make_even_slices_near_the_target() {
    for (rows, target, count) in [
        (0.0, 1000, 1),
        (10.0, 1000, 1),
        (1e6, 100_000_000, 1),
        (1e6, 10_000_000, 10),
        (1e6, 11_000_000, 10),
        (1e6, 1_000_000, 100),
    ] {
        let (found, asked) = cut(86_400, target, &[], |a, b| indexed(rows * (b - a) as f64 / 86_400.0)).await;
        assert!((count - count / 5..=count + count / 3).contains(&found.len()), "{rows} {target}: {}", found.len());
        assert!(asked <= 96 + MOST_QUESTIONS + found.len(), "{asked}");
        let largest = found.iter().map(|it| it.2).fold(0.0, f64::max);
        assert!(found.len() == 1 || largest * 100.0 <= 1.25 * target as f64, "{rows} {target}: {largest}");
    }
}

#[tokio::test]
async fn no_slice_takes_longer_to_read_than_should_be_lost() {
    // Narrow rows are bounded by their number, wide ones by their bytes, whatever target is set.
    for (rows, row_bytes, most) in [(4e7, 30.0, 5e6), (4e5, 1e5, 13_422.0)] {
        let (found, _) =
            cut(86_400, u64::MAX, &[], |a, b| Estimate { row_bytes, ..indexed(rows * (b - a) as f64 / 86_400.0) })
                .await;
        assert!(found.iter().all(|it| it.2 <= 1.25 * most), "{row_bytes}: {found:?}");
        assert!(found.len() as f64 <= 1.4 * rows / most, "{row_bytes}: {}", found.len());
    }
}

#[tokio::test]
async fn rows_that_are_held_back_take_their_time_too() {
    let window = Window { start: at(DAY), end: at(DAY + 86_400) };
    let planner = Planner { leaving: 1e-4, ..Planner::new(|a, b| indexed(2e7 * (b - a) as f64 / 86_400.0)) };
    let scan = ScanSpec { rows: Predicate::Any(Vec::new()), ..scan(window.start, window.end) };
    let whole = planner.estimate(&scan).await.unwrap();
    assert_eq!(whole.rows, 2e3, "what leaves is a small file");
    let found = slices(&planner, &scan, &whole, window, u64::MAX).await.unwrap();
    assert!((4..=6).contains(&found.len()), "5 million rows are read for each: {found:?}");
}

#[test]
fn seams_are_cut_at_where_they_are_whole_seconds_of_the_window() {
    let half = TimeDelta::milliseconds(500);
    let window = Window { start: at(DAY) + half, end: at(DAY + 100) + half };
    let seams = [at(DAY), window.start, at(DAY + 10), at(DAY + 20) + half, window.end];
    let found = edges(window, &seams, 1);
    assert_eq!(found, [(window.start, at(DAY + 20) + half), (at(DAY + 20) + half, window.end)]);
}

#[tokio::test]
async fn a_window_with_fractions_of_a_second_is_tiled_to_its_very_ends() {
    for (start, end) in [(250_000, 750_001), (0, 1), (999_999, 0), (1, 1)] {
        for length in [1, 2, 100, 86_400] {
            let window = Window {
                start: at(DAY) + TimeDelta::microseconds(start),
                end: at(DAY + length) + TimeDelta::microseconds(end),
            };
            // A seam at a whole second of the day, one at a whole second of the window.
            let seams = vec![at(DAY + length / 2), window.start + TimeDelta::seconds(length / 3)];
            let planner = Planner { seams, ..Planner::new(|a, b| indexed(1e6 * (b - a + 1) as f64 / length as f64)) };
            let scan = scan(window.start, window.end);
            let whole = planner.estimate(&scan).await.unwrap();
            let found = slices(&planner, &scan, &whole, window, 10_000_000).await.unwrap();
            assert_eq!((found[0].start, found[found.len() - 1].end), (window.start, window.end), "{window:?}");
            assert!(found.windows(2).all(|pair| pair[0].end == pair[1].start), "{window:?}: {found:?}");
            assert!(found.iter().all(|slice| slice.start < slice.end), "{window:?}: {found:?}");
            assert_eq!(found.len() > 5, length >= 100, "{window:?}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_heavy_minute_is_cut_and_a_heavy_second_is_one_slice() {
    // A day of 100,000 rows, and 300,000 in one minute, or in one second, that no equal parts of the day begin at.
    for (heavy, pieces) in [((50_017, 50_077), 25..=48), ((50_017, 50_018), 1..=1)] {
        let (found, asked) = cut(86_400, 1_000_000, &[], |a, b| {
            let even = 1e5 * (b - a) as f64 / 86_400.0;
            indexed(even + 3e5 * shared((a, b), heavy) / (heavy.1 - heavy.0) as f64)
        })
        .await;
        let within = found.iter().filter(|it| shared((it.0, it.1), heavy) > 0.0).count();
        assert!(pieces.contains(&within), "{heavy:?}: {within} of {found:?}");
        let light: Vec<_> = found.iter().filter(|it| shared((it.0, it.1), heavy) == 0.0).collect();
        assert!(light.len() <= 14 && light.iter().all(|it| it.2 <= 12_000.0), "{light:?}");
        assert!(asked <= 96 + MOST_QUESTIONS + found.len(), "{asked}");
    }
    // All rows at one instant, as dates have them: no empty files beside it.
    let (found, _) = cut(86_400, 1_000_000, &[], |a, b| indexed(if (a..b).contains(&0) { 3e5 } else { 1.0 })).await;
    assert_eq!(found, [(0, 86_400, 3e5)]);
}

#[tokio::test]
async fn no_relation_is_read_whole_by_two_slices() {
    let even = |a: i64, b: i64| 1e6 * (b - a) as f64 / 86_400.0;
    let reads = |relation: &str| BTreeSet::from([relation.to_owned()]);
    // No index: every slice reads the table.
    let (found, _) =
        cut(86_400, 10_000_000, &[], |a, b| Estimate { read_whole: reads("t"), ..indexed(even(a, b)) }).await;
    assert_eq!(found.len(), 1);
    // One half of the day has an index.
    let (found, _) = cut(86_400, 10_000_000, &[], |a, b| match a < 43_200 {
        true => Estimate { read_whole: reads("t"), ..indexed(even(a, b)) },
        false => indexed(even(a, b)),
    })
    .await;
    assert_eq!(found.iter().filter(|it| it.0 < 43_200).count(), 1, "{found:?}");
    assert!((5..9).contains(&found.len()), "{found:?}");
    // Parts of the table, none with an index, that end where no cell does.
    let parts = [(0, 20_001), (20_001, 50_003), (50_003, 86_400)];
    let (found, _) = cut(86_400, 10_000_000, &[20_001, 50_003], |a, b| Estimate {
        read_whole: parts.iter().filter(|part| shared(**part, (a, b)) > 0.0).map(|part| part.0.to_string()).collect(),
        ..indexed(even(a, b))
    })
    .await;
    assert_eq!(found.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>(), parts);
}

#[tokio::test]
async fn slices_that_cost_the_whole_each_are_one() {
    let even = |a: i64, b: i64| 1e6 * (b - a) as f64 / 86_400.0;
    // What a slice costs beside its share: nothing, a tenth of the whole, all of it.
    for (fixed, target, cut_up) in [
        (0.0, 10_000_000, true),
        (1e5, 10_000_000, true),
        (1e6, 10_000_000, false),
        (1e5, 50_000_000, true),
        (1e9, 50_000_000, false),
    ] {
        let cost = |a, b| Estimate { cost: fixed + even(a, b), ..indexed(even(a, b)) };
        let (found, _) = cut(86_400, target, &[], cost).await;
        assert_eq!(found.len() > 1, cut_up, "{fixed} {target}: {found:?}");
    }
}
