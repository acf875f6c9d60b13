//! Where a table is cut already: the bounds of its partitions by range of the time column. Nothing is read but the
//! catalog.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgPool};

use super::super::{TimeSlice, WarehouseError};
use super::catalog::Table;
use super::error::Doing;
use super::sql::{self, Clock, literal, timestamptz};

/// More bounds than a window has slices are of no use.
const MOST: i64 = 1_000;

/// The bounds within a slice, in order; none for a table that is not partitioned by its time column.
pub(super) async fn seams(
    pool: &PgPool,
    table: &Table,
    slice: &TimeSlice,
) -> Result<Vec<DateTime<Utc>>, WarehouseError> {
    let doing = Doing::with("reading the partitions of", &table.name);
    let value = match sql::clock(slice, table)? {
        Clock::Instants => "bound::timestamptz".to_owned(),
        Clock::Local => format!("bound::timestamp AT TIME ZONE {}", literal(&slice.zone)),
        Clock::Counted(micros) => format!("to_timestamp(bound::numeric * {micros} / 1000000)"),
    };
    let [start, end] = [slice.start, slice.end].map(timestamptz);
    // A bound that is no instant, such as MINVALUE or another year's infinity, is none within a slice. What it is cast
    // to is what the column holds, and so what it was written as.
    let statement = format!(
        r"WITH bounds AS MATERIALIZED (
            SELECT found[1] AS bound
            FROM pg_partition_tree({}::int8::oid::regclass) AS part
            JOIN pg_class AS c ON c.oid = part.relid
            JOIN pg_partitioned_table AS p ON p.partrelid = part.parentrelid AND p.partstrat = 'r'
            JOIN pg_attribute AS a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0] AND a.attname = {}
            CROSS JOIN LATERAL regexp_matches(pg_get_expr(c.relpartbound, c.oid), '(?:FROM|TO) \(''?([-+:. 0-9]+)', 'g') AS found
        ), instants AS MATERIALIZED (SELECT DISTINCT {value} AS at FROM bounds)
        SELECT at FROM instants WHERE at > {start} AND at < {end} ORDER BY at LIMIT {MOST}",
        table.oid,
        literal(&slice.column),
    );
    // Safe: numbers of the catalog, and literals by the one function for them.
    let query = sqlx::query_scalar(AssertSqlSafe(statement)).persistent(false);
    query.fetch_all(pool).await.map_err(|error| doing.failed(&error))
}
