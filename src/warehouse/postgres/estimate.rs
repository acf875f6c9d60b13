//! What a scan would yield and take, from the planner alone: nothing is read.
//!
//! The plan of the very statement says whether an index serves it. The planner knows of indexes that are partial or
//! invalid, of partitions that need not be looked at and of what is behind a view; a look into `pg_index` would not.
//! It is corrected where it knows less than the index that it chose.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool, Row};

use super::super::{Estimate, ScanSpec, TimeRange, TimeSlice, WarehouseError};
use super::catalog::Table;
use super::error::Doing;
use super::sql;

/// Nodes of a plan that look at all of a relation, whatever is asked of it. A foreign table may, for all that is known.
const READ_WHOLE: [&str; 3] = ["Seq Scan", "Sample Scan", "Foreign Scan"];
/// A relation that costs no more than this is small: about a hundred pages, read in a row.
const SMALL: f64 = 100.0;
/// So is one whose share of the plan's cost is no larger, such as what a view looks names up in.
const SMALL_SHARE: f64 = 0.05;

/// Of these indexes, those that know ranges of blocks.
const BLOCK_RANGES: &str = "
SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am a ON a.oid = c.relam
WHERE c.relkind = 'i' AND a.amname = 'brin' AND c.relname = ANY ($1)";
/// Bytes of a page, and of what a row has beside its values, as the planner takes them.
const PAGE: f64 = 8_192.0;
const ROW_HEAD: f64 = 28.0;
/// What looking at a row costs, by default: `cpu_tuple_cost` and two comparisons.
const LOOK: f64 = 0.015;

/// What the planner expects.
pub(super) async fn estimate(pool: &PgPool, spec: &ScanSpec, table: &Table) -> Result<Estimate, WarehouseError> {
    one(pool, spec, table, &mut BTreeMap::new()).await
}

async fn one(
    pool: &PgPool,
    spec: &ScanSpec,
    table: &Table,
    block_ranges: &mut BTreeMap<String, bool>,
) -> Result<Estimate, WarehouseError> {
    let doing = Doing::with("estimating", &table.name);
    let scan = sql::expected(spec, table)?;
    // Safe: the statement is made of names from the catalog and literals by the one function for them.
    let explain = AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) {}", scan.sql));
    let row = sqlx::query(explain).persistent(false).fetch_one(pool).await.map_err(|error| doing.failed(&error))?;
    let answer: Value = row.try_get(0).map_err(|error| doing.failed(&error))?;
    let plan = answer.pointer("/0/Plan").unwrap_or(&Value::Null);
    let [Some(rows), Some(width), Some(cost)] = ["Plan Rows", "Plan Width", "Total Cost"].map(|key| number(plan, key))
    else {
        return Err(WarehouseError::Protocol { detail: "EXPLAIN without rows, width and cost".to_owned() });
    };
    // Each value is preceded by its length and each row by its count of values, in a message with a head of five.
    let row_bytes = width + 4.0 * scan.selected.len() as f64 + 7.0;
    let mut read_whole = BTreeSet::new();
    collect(plan, SMALL.max(SMALL_SHARE * cost), &mut read_whole);
    let mut unknown = Vec::new();
    bitmaps(plan, &mut |index, _, _| {
        if !block_ranges.contains_key(index) {
            unknown.push(index.to_owned());
        }
    });
    if !unknown.is_empty() {
        let found: Vec<String> = sqlx::query_scalar(BLOCK_RANGES)
            .bind(&unknown)
            .fetch_all(pool)
            .await
            .map_err(|error| doing.failed(&error))?;
        block_ranges.extend(unknown.into_iter().map(|index| (index.clone(), found.contains(&index))));
    }
    // The planner takes the rows of a bitmap to lie anywhere, and so a slice to read most of the table. Those of ranges
    // of blocks lie in a row, as many as the index is expected to name.
    let mut overestimated = 0.0;
    bitmaps(plan, &mut |index, heap, bits| {
        if block_ranges.get(index) == Some(&true)
            && let [Some(total), Some(width), Some(named)] =
                [number(heap, "Total Cost"), number(heap, "Plan Width"), number(bits, "Plan Rows")]
        {
            let in_a_row = number(bits, "Total Cost").unwrap_or(0.0) + named * ((width + ROW_HEAD) / PAGE + LOOK);
            overestimated += (total - in_a_row).max(0.0);
        }
    });
    Ok(Estimate { rows, row_bytes, cost: cost - overestimated, read_whole })
}

/// The same for each of these ranges.
pub(super) async fn ranges(
    pool: &PgPool,
    spec: &ScanSpec,
    table: &Table,
    ranges: &[TimeRange],
) -> Result<Vec<Estimate>, WarehouseError> {
    let mut estimates = Vec::with_capacity(ranges.len());
    let mut block_ranges = BTreeMap::new();
    for &(start, end) in ranges {
        let slice = spec.slice.clone().map(|slice| TimeSlice { start, end, ..slice });
        estimates.push(one(pool, &ScanSpec { slice, ..spec.clone() }, table, &mut block_ranges).await?);
    }
    Ok(estimates)
}

/// The relations that this plan reads from end to end for more than `small`.
fn collect(plan: &Value, small: f64, found: &mut BTreeSet<String>) {
    let text = |key: &str| plan.get(key).and_then(Value::as_str);
    if text("Node Type").is_some_and(|node| READ_WHOLE.contains(&node))
        && number(plan, "Total Cost").is_none_or(|cost| cost > small)
    {
        // Without its schema: two of one name are taken for one, which cuts too little and never too much.
        found.insert(text("Relation Name").unwrap_or_default().to_owned());
    }
    for part in plan.get("Plans").and_then(Value::as_array).into_iter().flatten() {
        collect(part, small, found);
    }
}

/// Shows each scan of a relation by the bitmap of a single index: the index, the scan and what makes the bitmap.
fn bitmaps<'a>(plan: &'a Value, show: &mut impl FnMut(&'a str, &'a Value, &'a Value)) {
    let parts = plan.get("Plans").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if plan.get("Node Type").and_then(Value::as_str) == Some("Bitmap Heap Scan")
        && let [bits] = parts
        && let Some(index) = bits.get("Index Name").and_then(Value::as_str)
    {
        show(index, plan, bits);
    }
    for part in parts {
        bitmaps(part, show);
    }
}

fn number(plan: &Value, key: &str) -> Option<f64> {
    plan.get(key).and_then(Value::as_f64)
}
