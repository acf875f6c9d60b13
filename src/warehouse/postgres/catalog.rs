//! What the warehouse's catalog says of tables: one query for all of them, names compared exactly and with their
//! schema. Nothing is guessed from a search path.

use std::collections::BTreeMap;

use classification::{CatalogColumn, ColumnKind, TableName};
use sqlx::{PgPool, Row};

use super::super::{ShapeColumn, TableShape, WarehouseError};
use super::error::Doing;
use super::types::{self, BaseType, Decoding};

/// Tables, views and foreign tables by name, with the columns that are there now, domains followed to their base.
/// Types are written with their schema unless they are PostgreSQL's own: sessions have an empty search path.
const CATALOG: &str = "
WITH RECURSIVE wanted AS (
  SELECT c.oid AS relid, n.nspname, c.relname
  FROM unnest($1::text[], $2::text[]) AS w (schema_name, table_name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.table_name
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
), cols AS (
  SELECT w.relid, w.nspname, w.relname, a.attnum, a.attname, a.atttypid, a.atttypmod
  FROM wanted w
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = w.relid AND a.attnum > 0 AND NOT a.attisdropped
), base (relid, attnum, typid, typmod) AS (
  SELECT relid, attnum, atttypid, atttypmod FROM cols
  UNION ALL
  SELECT b.relid, b.attnum, t.typbasetype, t.typtypmod
  FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typid
  WHERE t.typtype = 'd'
)
SELECT c.relid::int8 AS relid, c.nspname::text AS schema_name, c.relname::text AS table_name, c.attnum,
       c.attname::text AS column_name, pg_catalog.format_type(c.atttypid, c.atttypmod) AS sql_type,
       t.oid::int8 AS base_oid, t.typtype::text AS base_class, b.typmod AS base_modifier,
       coalesce(p.prosrc = 'textsend', false) AS sent_as_text,
       ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
         AS enum_labels
FROM cols c
LEFT JOIN (base b JOIN pg_catalog.pg_type t ON t.oid = b.typid AND t.typtype <> 'd')
       ON b.relid = c.relid AND b.attnum = c.attnum
LEFT JOIN pg_catalog.pg_proc p ON p.oid = t.typsend AND p.prolang = 12
ORDER BY c.nspname, c.relname, c.attnum";

/// A table as the catalog has it, with what is needed to read it.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Its name.
    pub(super) name: TableName,
    /// `pg_class.oid`.
    pub(super) oid: i64,
    /// Its columns, in order.
    pub(super) columns: Vec<Column>,
}

/// A column of it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// Its exact name.
    pub(super) name: String,
    /// Its number in the table.
    pub(super) number: i16,
    /// Its type as PostgreSQL writes it.
    pub(super) sql_type: String,
    /// What a policy must know of it.
    pub(super) kind: ColumnKind,
    /// How it is decoded; `None` where it cannot be exported.
    pub(super) decoding: Option<Decoding>,
    /// The labels of an enumerated type, in its order.
    pub(super) enum_labels: Vec<String>,
}

impl Table {
    /// The column of this name.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// What the stages before a scan see of it.
    pub(super) fn into_shape(self) -> TableShape {
        let columns = self.columns.into_iter().map(|column| ShapeColumn {
            manifest_type: column.decoding.map(Decoding::manifest_type),
            catalog: CatalogColumn { name: column.name, sql_type: column.sql_type, kind: column.kind },
        });
        TableShape { table: self.name, columns: columns.collect() }
    }
}

/// Looks these tables up; those that do not exist are not in the answer.
pub(super) async fn load(pool: &PgPool, tables: &[TableName]) -> Result<Vec<Table>, WarehouseError> {
    let doing = Doing::now("reading the catalog");
    let (schemas, names): (Vec<&str>, Vec<&str>) = tables.iter().map(|table| (table.schema(), table.name())).unzip();
    let rows =
        sqlx::query(CATALOG).bind(schemas).bind(names).fetch_all(pool).await.map_err(|error| doing.failed(&error))?;
    let wanted: BTreeMap<(&str, &str), &TableName> =
        tables.iter().map(|table| ((table.schema(), table.name()), table)).collect();
    let mut found: Vec<Table> = Vec::with_capacity(tables.len());
    for row in rows {
        let row = CatalogRow::read(&row).map_err(|error| doing.failed(&error))?;
        let Some(&name) = wanted.get(&(row.schema.as_str(), row.table.as_str())) else { continue };
        if found.last().is_none_or(|table| table.oid != row.oid) {
            found.push(Table { name: name.clone(), oid: row.oid, columns: Vec::new() });
        }
        if let (Some(table), Some(column)) = (found.last_mut(), row.column) {
            table.columns.push(column);
        }
    }
    Ok(found)
}

/// One line of the answer.
struct CatalogRow {
    oid: i64,
    schema: String,
    table: String,
    /// `None` for a table without columns.
    column: Option<Column>,
}

impl CatalogRow {
    fn read(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            oid: row.try_get("relid")?,
            schema: row.try_get("schema_name")?,
            table: row.try_get("table_name")?,
            column: match row.try_get::<Option<i16>, _>("attnum")? {
                Some(number) => Some(column(row, number)?),
                None => None,
            },
        })
    }
}

fn column(row: &sqlx::postgres::PgRow, number: i16) -> Result<Column, sqlx::Error> {
    let enum_labels: Vec<String> = row.try_get("enum_labels")?;
    let base = match (row.try_get::<Option<i64>, _>("base_oid")?, row.try_get::<Option<String>, _>("base_class")?) {
        (Some(oid), Some(class)) => Some(BaseType {
            oid: u32::try_from(oid).unwrap_or_default(),
            class: class.chars().next().unwrap_or('?'),
            modifier: row.try_get("base_modifier")?,
            sent_as_text: row.try_get("sent_as_text")?,
        }),
        _ => None,
    };
    let (kind, decoding) = base.map_or((ColumnKind::Other, None), |base| types::resolve(&base));
    let (name, sql_type) = (row.try_get("column_name")?, row.try_get("sql_type")?);
    Ok(Column { name, number, sql_type, kind, decoding, enum_labels })
}
