//! What the warehouse's catalog says of tables: one query for all of them, names compared exactly and with their
//! schema. Nothing is guessed from a search path.

use std::collections::BTreeMap;

use classification::rules::TypeProfile;
use classification::{CatalogColumn, ColumnKind, TableName};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

use super::super::{ColumnOptions, ShapeColumn, TableShape, WarehouseError};
use super::error::Doing;
use super::types::Decoding;
use super::types::options;
use super::types::resolve::{CatalogType, Types};

/// Tables, views and foreign tables by name, with the columns that are there now.
/// Types are written with their schema unless they are PostgreSQL's own: sessions have an empty search path.
const CATALOG: &str = "
WITH wanted AS (
  SELECT c.oid AS relid, n.nspname, c.relname
  FROM unnest($1::text[], $2::text[]) AS w (schema_name, table_name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.table_name
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
)
SELECT w.relid::int8 AS relid, w.nspname::text AS schema_name, w.relname::text AS table_name, a.attnum,
       a.attname::text AS column_name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS sql_type,
       a.atttypid::int8 AS type_oid, a.atttypmod AS type_modifier
FROM wanted w
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = w.relid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY w.nspname, w.relname, a.attnum";

/// Every type that these types reach: items, bases, bounds and fields. What a type is sent by tells its binary form.
/// Multiranges are read by their column's name, which older servers lack.
const TYPES: &str = "
WITH RECURSIVE reach (oid) AS (
  SELECT unnest($1::int8[])::oid
  UNION
  SELECT n.next FROM reach r
  JOIN pg_catalog.pg_type t ON t.oid = r.oid
  CROSS JOIN LATERAL (
    SELECT t.typelem WHERE t.typelem <> 0
    UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd'
    UNION ALL SELECT g.rngsubtype FROM pg_catalog.pg_range g WHERE g.rngtypid = t.oid
    UNION ALL SELECT g.rngtypid FROM pg_catalog.pg_range g
              WHERE t.typtype = 'm' AND to_jsonb(g) ->> 'rngmultitypid' = t.oid::text
    UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
              WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
  ) n (next)
)
SELECT t.oid::int8 AS oid, t.typname::text AS name, t.typtype::text AS class,
       coalesce(p.prosrc, '') AS send, coalesce(x.extname::text, '') AS extension,
       coalesce(CASE t.typtype
           WHEN 'b' THEN t.typelem
           WHEN 'd' THEN t.typbasetype
           WHEN 'r' THEN (SELECT g.rngsubtype FROM pg_catalog.pg_range g WHERE g.rngtypid = t.oid)
           WHEN 'm' THEN (SELECT g.rngtypid FROM pg_catalog.pg_range g
                          WHERE to_jsonb(g) ->> 'rngmultitypid' = t.oid::text)
       END, 0)::int8 AS inner_oid,
       t.typtypmod AS modifier,
       coalesce((SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'type', a.atttypid::int8, 'modifier', a.atttypmod,
                                            'sql_type', pg_catalog.format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
                 FROM pg_catalog.pg_attribute a
                 WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS attributes,
       ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) AS labels,
       CASE WHEN t.oid = 790 THEN pg_catalog.scale('0'::money::numeric) END AS money_scale
FROM reach r
JOIN pg_catalog.pg_type t ON t.oid = r.oid
LEFT JOIN pg_catalog.pg_proc p ON p.oid = t.typsend AND p.prolang = 12
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::regclass AND d.objid = t.oid AND d.objsubid = 0
      AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
LEFT JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid";

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
    /// Its type as PostgreSQL writes it, with the structure of composite types behind it.
    pub(super) sql_type: String,
    /// What a policy must know of it.
    pub(super) kind: ColumnKind,
    /// How it is decoded for files that every reader opens; `None` where it cannot be exported.
    pub(super) decoding: Option<Decoding>,
    /// The same for files that keep every type.
    pub(super) native: Option<Decoding>,
    /// The labels of an enumerated type, in its order.
    pub(super) enum_labels: Vec<String>,
}

impl Column {
    /// How it is decoded under this profile and with these options; `None` where it cannot be exported.
    ///
    /// # Errors
    /// What does not go together, to stand after "has type …, which".
    pub(super) fn planned(
        &self,
        profile: TypeProfile,
        options: Option<&ColumnOptions>,
    ) -> Result<Option<Decoding>, &'static str> {
        let own = match profile {
            TypeProfile::Portable => self.decoding.clone(),
            TypeProfile::Native => self.native.clone(),
        };
        options.map_or(Ok(own.clone()), |given| options::apply(own, given))
    }
}

impl Table {
    /// The column of this name.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// What the stages before a scan see of it.
    pub(super) fn into_shape(self) -> TableShape {
        let columns = self.columns.into_iter().map(|column| ShapeColumn {
            manifest_type: column.decoding.as_ref().map(Decoding::manifest_type),
            native_manifest_type: column.native.as_ref().map(Decoding::manifest_type),
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
    let rows: Vec<CatalogRow> =
        rows.iter().map(CatalogRow::read).collect::<Result<_, _>>().map_err(|error| doing.failed(&error))?;
    let reached: Vec<i64> = rows.iter().filter_map(|row| row.column.as_ref()).map(|column| column.oid.into()).collect();
    let types = sqlx::query(TYPES).bind(reached).fetch_all(pool).await.map_err(|error| doing.failed(&error))?;
    let types = read_types(&types).map_err(|error| doing.failed(&error))?;

    let wanted: BTreeMap<(&str, &str), &TableName> =
        tables.iter().map(|table| ((table.schema(), table.name()), table)).collect();
    let mut found: Vec<Table> = Vec::with_capacity(tables.len());
    for row in rows {
        let Some(&name) = wanted.get(&(row.schema.as_str(), row.table.as_str())) else { continue };
        if found.last().is_none_or(|table| table.oid != row.oid) {
            found.push(Table { name: name.clone(), oid: row.oid, columns: Vec::new() });
        }
        if let (Some(table), Some(column)) = (found.last_mut(), row.column) {
            table.columns.push(column.resolve(&types));
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
    column: Option<ColumnRow>,
}

/// A column before its type is known.
struct ColumnRow {
    name: String,
    sql_type: String,
    oid: u32,
    modifier: i32,
}

impl CatalogRow {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let column = match row.try_get::<Option<i16>, _>("attnum")? {
            Some(_) => Some(ColumnRow {
                name: row.try_get("column_name")?,
                sql_type: row.try_get("sql_type")?,
                oid: oid(row, "type_oid")?,
                modifier: row.try_get("type_modifier")?,
            }),
            None => None,
        };
        Ok(Self {
            oid: row.try_get("relid")?,
            schema: row.try_get("schema_name")?,
            table: row.try_get("table_name")?,
            column,
        })
    }
}

impl ColumnRow {
    fn resolve(self, types: &Types) -> Column {
        let found = types.resolve(self.oid, self.modifier);
        Column {
            name: self.name,
            sql_type: self.sql_type + &types.structure(self.oid),
            kind: found.kind,
            decoding: found.portable,
            native: found.native,
            enum_labels: found.labels,
        }
    }
}

/// A number of the catalog, which are unsigned and come in the wider type.
fn oid(row: &PgRow, column: &str) -> Result<u32, sqlx::Error> {
    let wide: i64 = row.try_get(column)?;
    u32::try_from(wide).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn read_types(rows: &[PgRow]) -> Result<Types, sqlx::Error> {
    let mut types = Types::default();
    for row in rows {
        if let Some(scale) = row.try_get::<Option<i32>, _>("money_scale")? {
            types.money_scale = i8::try_from(scale).map_err(|error| sqlx::Error::Decode(error.into()))?;
        }
        let class: String = row.try_get("class")?;
        let attributes: Value = row.try_get("attributes")?;
        let found = CatalogType {
            name: row.try_get("name")?,
            class: class.chars().next().unwrap_or('?'),
            send: row.try_get("send")?,
            extension: row.try_get("extension")?,
            inner: oid(row, "inner_oid")?,
            modifier: row.try_get("modifier")?,
            attributes: serde_json::from_value(attributes).map_err(|error| sqlx::Error::Decode(error.into()))?,
            labels: row.try_get("labels")?,
        };
        types.by_oid.insert(oid(row, "oid")?, found);
    }
    Ok(types)
}
