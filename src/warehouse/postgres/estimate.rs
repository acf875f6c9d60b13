//! What a scan would yield, from the planner's statistics alone: nothing is read.

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool, Row};

use super::super::{Estimate, ScanSpec, WarehouseError};
use super::catalog::Table;
use super::error::Doing;
use super::sql;

/// Whether a btree that covers the whole table begins with the column.
const INDEXED: &str = "
SELECT EXISTS (
  SELECT 1 FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_am a ON a.oid = c.relam
  WHERE i.indrelid = $1::int8::oid AND i.indkey[0] = $2 AND i.indisvalid AND i.indpred IS NULL AND a.amname = 'btree')";

/// What the planner expects.
pub(super) async fn estimate(pool: &PgPool, spec: &ScanSpec, table: &Table) -> Result<Estimate, WarehouseError> {
    let doing = Doing::with("estimating", &table.name);
    let scan = sql::scan(spec, table)?;
    // Safe: the statement is made of names from the catalog and literals by the one function for them.
    let explain = AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) {}", scan.sql));
    let row = sqlx::query(explain).persistent(false).fetch_one(pool).await.map_err(|error| doing.failed(&error))?;
    let plan: Value = row.try_get(0).map_err(|error| doing.failed(&error))?;
    let number = |key: &str| plan.pointer(&format!("/0/Plan/{key}")).and_then(Value::as_f64);
    let (Some(rows), Some(width)) = (number("Plan Rows"), number("Plan Width")) else {
        return Err(WarehouseError::Protocol { detail: "EXPLAIN without rows and width".to_owned() });
    };
    let time_indexed = match spec.slice.as_ref().and_then(|slice| table.column(&slice.column)) {
        Some(column) => sqlx::query_scalar(INDEXED)
            .bind(table.oid)
            .bind(column.number)
            .fetch_one(pool)
            .await
            .map_err(|error| doing.failed(&error))?,
        None => false,
    };
    // Each value is preceded by its length and each row by its count of values, in a message with a head of five.
    let row_bytes = width + 4.0 * scan.selected.len() as f64 + 7.0;
    Ok(Estimate { rows, row_bytes, time_indexed })
}
