//! How many rows meet which conditions: one statement each, in one pass, and nothing is read but the counts.

use std::collections::BTreeMap;

use classification::Predicate;
use sqlx::{AssertSqlSafe, PgPool, Row};

use super::super::{TimeSlice, TimeUnit, WarehouseError};
use super::catalog::Table;
use super::error::Doing;
use super::sql;
use super::types::Decoding;

/// The rows of a slice, or of the whole table, that meet each condition.
pub(super) async fn count(
    pool: &PgPool,
    table: &Table,
    slice: Option<&TimeSlice>,
    conditions: &[Predicate],
) -> Result<Vec<i64>, WarehouseError> {
    if conditions.is_empty() {
        return Ok(Vec::new());
    }
    let (statement, places) = counting(table, slice, conditions)?;
    let doing = Doing::with("counting the rows of", &table.name);
    // Safe: the statement is made of names from the catalog and literals by the one function for them.
    let query = sqlx::query(AssertSqlSafe(statement)).persistent(false);
    let row = query.fetch_one(pool).await.map_err(|error| doing.failed(&error))?;
    places.into_iter().map(|place| row.try_get(place).map_err(|error| doing.failed(&error))).collect()
}

/// The statement, and which of its counts is that of each condition. Columns often share their rule: a condition
/// that comes twice is counted once.
fn counting(
    table: &Table,
    slice: Option<&TimeSlice>,
    conditions: &[Predicate],
) -> Result<(String, Vec<usize>), WarehouseError> {
    let mut counts: Vec<String> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut places = Vec::with_capacity(conditions.len());
    for condition in conditions {
        let condition = sql::predicate(condition, table)?;
        let place = *known.entry(condition).or_insert_with_key(|condition| {
            counts.push(format!("count(*) FILTER (WHERE {condition})"));
            counts.len() - 1
        });
        places.push(place);
    }
    let mut statement = format!("SELECT {} FROM {}", counts.join(", "), sql::qualified(&table.name));
    if let Some(slice) = slice {
        statement.push_str(" WHERE ");
        statement.push_str(&sql::time(slice, table)?);
    }
    Ok((statement, places))
}

/// The rows whose time is in no slice.
pub(super) async fn timeless(
    pool: &PgPool,
    table: &Table,
    slice: &TimeSlice,
    condition: &Predicate,
) -> Result<i64, WarehouseError> {
    let statement = without_time(table, slice, condition)?;
    let doing = Doing::with("counting the rows without a time of", &table.name);
    // Safe, as above.
    let query = sqlx::query_scalar(AssertSqlSafe(statement)).persistent(false);
    query.fetch_one(pool).await.map_err(|error| doing.failed(&error))
}

fn without_time(table: &Table, slice: &TimeSlice, condition: &Predicate) -> Result<String, WarehouseError> {
    // Refuses a column that is not there or holds no time of this unit.
    sql::time(slice, table)?;
    let name = sql::ident(&slice.column);
    let decoding = table.column(&slice.column).and_then(|column| column.decoding.as_ref());
    // Plain comparisons, so that an index on the column serves them.
    let mut never = vec![format!("{name} IS NULL")];
    match (slice.unit, decoding) {
        (TimeUnit::Timestamp | TimeUnit::Date, _) => {
            never.extend(["infinity", "-infinity"].map(|end| format!("{name} = '{end}'")));
        }
        // Not a number is above every number. Beyond these there is no time that can be asked for.
        (_, Some(Decoding::Decimal { .. } | Decoding::NumericText)) => {
            never.extend([format!("{name} >= 1e18"), format!("{name} <= -1e18")]);
        }
        _ => {}
    }
    Ok(format!(
        "SELECT count(*) FROM {} WHERE ({}) AND {}",
        sql::qualified(&table.name),
        never.join(" OR "),
        sql::predicate(condition, table)?
    ))
}
