//! Writes the SQL of a scan. Names come from the catalog and are always quoted; values are written by one function.
//! Literals rely on `standard_conforming_strings`, which every session of ours sets.

use std::fmt::Write;

use arrow::datatypes::Field;
use chrono::{DateTime, Datelike, Duration, Timelike, Utc};
use classification::{PolicyColumn, Predicate, TableName};

use super::super::{Guard, ScanSpec, TimeSlice, TimeUnit, WarehouseError};
use super::catalog::{Column, Table};
use super::types::Decoding;

/// How far around a boundary a change of the zone's offset matters: no zone ever jumped by more than a day.
const SHIFT: Duration = Duration::hours(48);

/// A scan whose names are resolved: its statement and how its columns are decoded, in order.
#[derive(Debug)]
pub(super) struct Rendered {
    /// The `SELECT`.
    pub(super) sql: String,
    /// What it yields.
    pub(super) selected: Vec<Selected>,
}

/// A column or a guard of a scan.
#[derive(Debug)]
pub(super) struct Selected {
    /// The table's column behind it, for messages.
    pub(super) column: String,
    /// Its field in the batches.
    pub(super) field: Field,
    /// How it is decoded.
    pub(super) decoding: Decoding,
}

/// A name as an identifier.
pub(super) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value as a literal of unknown type. PostgreSQL's texts have no NUL: the caller leaves such values out.
pub(super) fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A table as it stands in `FROM`.
pub(super) fn qualified(table: &TableName) -> String {
    format!("{}.{}", ident(table.schema()), ident(table.name()))
}

/// The statement of a scan; an error where the table is not what was planned.
pub(super) fn scan(spec: &ScanSpec, table: &Table) -> Result<Rendered, WarehouseError> {
    render(spec, table, time)
}

/// The same as the planner is asked about it: without the care for the hour that a zone repeats, of which it knows no
/// statistics and would expect a ninth of the rows.
pub(super) fn expected(spec: &ScanSpec, table: &Table) -> Result<Rendered, WarehouseError> {
    render(spec, table, |slice, table| {
        let name = ident(&slice.column);
        match clock(slice, table)? {
            Clock::Local => {
                let [start, end] = [slice.start, slice.end].map(|instant| local(instant, &slice.zone));
                Ok(format!("({name} >= {start} AND {name} < {end})"))
            }
            Clock::Instants | Clock::Counted(_) => time(slice, table),
        }
    })
}

fn render(
    spec: &ScanSpec,
    table: &Table,
    time: impl Fn(&TimeSlice, &Table) -> Result<String, WarehouseError>,
) -> Result<Rendered, WarehouseError> {
    let mut selected = Vec::with_capacity(spec.columns.len() + spec.guards.len());
    let mut list = Vec::with_capacity(selected.capacity());
    for planned in &spec.columns {
        let (column, decoding) = resolve(spec, table, planned)?;
        let field = decoding.field(&column.name, &column.enum_labels);
        let name = ident(&column.name);
        let value = decoding.select(&name);
        list.push(match &planned.cell {
            Predicate::Always if value == name => name,
            Predicate::Always => format!("{value} AS {name}"),
            cell => format!("CASE WHEN {} THEN {value} END AS {name}", predicate(cell, table)?),
        });
        selected.push(Selected { column: column.name.clone(), field, decoding });
    }
    if selected.is_empty() {
        return Err(WarehouseError::Protocol { detail: format!("a scan of '{}' without columns", table.name) });
    }
    for guard in &spec.guards {
        let (column, decoding, expression) = match guard {
            Guard::Text(column) => (column.clone(), Decoding::Text, text(column, table)?),
            Guard::Day => {
                let slice = spec.slice.as_ref().ok_or_else(|| WarehouseError::Protocol {
                    detail: format!("a scan of '{}' that asks for days without a time column", table.name),
                })?;
                (slice.column.clone(), Decoding::Date, day(slice, table)?)
            }
        };
        selected.push(Selected { column, field: guard.field(), decoding });
        list.push(expression);
    }
    let mut conditions = Vec::new();
    if let Some(slice) = &spec.slice {
        conditions.push(time(slice, table)?);
    }
    if spec.rows != Predicate::Always {
        conditions.push(predicate(&spec.rows, table)?);
    }
    let mut sql = format!("SELECT {} FROM {}", list.join(", "), qualified(&table.name));
    if !conditions.is_empty() {
        let _ = write!(sql, " WHERE {}", conditions.join(" AND "));
    }
    Ok(Rendered { sql, selected })
}

/// The column of the plan as the catalog has it now.
fn resolve<'a>(
    spec: &ScanSpec,
    table: &'a Table,
    planned: &PolicyColumn,
) -> Result<(&'a Column, Decoding), WarehouseError> {
    let column = table.column(&planned.name);
    match column {
        Some(column) if column.sql_type == planned.sql_type => {
            match column.planned(spec.type_profile, spec.options.get(&planned.name)) {
                Ok(Some(decoding)) => Ok((column, decoding)),
                Err(reason) => Err(WarehouseError::OptionUnfit {
                    table: table.name.clone(),
                    column: column.name.clone(),
                    sql_type: column.sql_type.clone(),
                    reason,
                }),
                Ok(None) => Err(WarehouseError::TypeUnsupported {
                    table: table.name.clone(),
                    column: column.name.clone(),
                    sql_type: column.sql_type.clone(),
                }),
            }
        }
        _ => Err(changed(table, &planned.name, &planned.sql_type, column)),
    }
}

fn changed(table: &Table, column: &str, planned: &str, found: Option<&Column>) -> WarehouseError {
    WarehouseError::SchemaChanged {
        table: table.name.clone(),
        column: column.to_owned(),
        planned: planned.to_owned(),
        found: found.map_or("missing", |column| &column.sql_type).to_owned(),
    }
}

/// A column as predicates compare it.
fn text(column: &str, table: &Table) -> Result<String, WarehouseError> {
    let found = table.column(column).ok_or_else(|| changed(table, column, "a column of the policy", None))?;
    Ok(format!("{}::pg_catalog.text", ident(&found.name)))
}

/// A condition on a row, in parentheses wherever it could be torn apart.
pub(super) fn predicate(predicate_: &Predicate, table: &Table) -> Result<String, WarehouseError> {
    Ok(match predicate_ {
        Predicate::Always => "true".to_owned(),
        Predicate::Never => "false".to_owned(),
        Predicate::In { column, values } => {
            let text = text(column, table)?;
            // A text in the database never holds NUL, so such a value admits nothing.
            let values: Vec<String> =
                values.iter().filter(|value| !value.contains('\0')).map(|value| literal(value)).collect();
            if values.is_empty() {
                "false".to_owned()
            } else {
                format!("({text} COLLATE pg_catalog.\"C\" IN ({}))", values.join(", "))
            }
        }
        Predicate::All(parts) => joined(parts, " AND ", "true", table)?,
        Predicate::Any(parts) => joined(parts, " OR ", "false", table)?,
    })
}

fn joined(parts: &[Predicate], with: &str, none: &str, table: &Table) -> Result<String, WarehouseError> {
    if parts.is_empty() {
        return Ok(none.to_owned());
    }
    let parts = parts.iter().map(|part| predicate(part, table)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("({})", parts.join(with)))
}

/// How a time column holds time.
pub(super) enum Clock {
    /// Instants.
    Instants,
    /// Times without a zone, dates among them.
    Local,
    /// Counted from 1970 on, in units of so many microseconds.
    Counted(i64),
}

pub(super) fn clock(slice: &TimeSlice, table: &Table) -> Result<Clock, WarehouseError> {
    let column = table.column(&slice.column);
    match (slice.unit, column.and_then(|column| column.decoding.as_ref())) {
        (TimeUnit::Timestamp | TimeUnit::Date, Some(Decoding::TimestampTz)) => Ok(Clock::Instants),
        (TimeUnit::Timestamp | TimeUnit::Date, Some(Decoding::Timestamp | Decoding::Date)) => Ok(Clock::Local),
        (
            unit @ (TimeUnit::EpochS | TimeUnit::EpochMs),
            Some(Decoding::Int2 | Decoding::Int4 | Decoding::Int8 | Decoding::Decimal { .. } | Decoding::NumericText),
        ) => Ok(Clock::Counted(if unit == TimeUnit::EpochS { 1_000_000 } else { 1_000 })),
        _ => Err(changed(table, &slice.column, &format!("a time column ({:?})", slice.unit), column)),
    }
}

/// The condition of a time slice, in a form that an index on the column serves.
pub(super) fn time(slice: &TimeSlice, table: &Table) -> Result<String, WarehouseError> {
    let name = ident(&slice.column);
    Ok(match clock(slice, table)? {
        Clock::Instants => {
            let [start, end] = [slice.start, slice.end].map(timestamptz);
            format!("({name} >= {start} AND {name} < {end})")
        }
        Clock::Local => local_time(&name, slice),
        Clock::Counted(micros) => {
            // The first whole number that is not before the instant, on both sides.
            let [start, end] = [slice.start, slice.end].map(|instant| ceil(micros_of(instant), micros));
            format!("({name} >= {start} AND {name} < {end})")
        }
    })
}

/// The day of a row's time in the slice's zone. A time without a zone is in that zone already.
fn day(slice: &TimeSlice, table: &Table) -> Result<String, WarehouseError> {
    let name = ident(&slice.column);
    let zone = literal(&slice.zone);
    Ok(match clock(slice, table)? {
        Clock::Instants => format!("({name} AT TIME ZONE {zone})::pg_catalog.date"),
        Clock::Local => format!("{name}::pg_catalog.date"),
        Clock::Counted(micros) => {
            let seconds = format!("pg_catalog.floor({name} / {}.0)", 1_000_000 / micros);
            format!("(pg_catalog.to_timestamp({seconds}) AT TIME ZONE {zone})::pg_catalog.date")
        }
    })
}

/// The condition for values without a zone, dates among them: a date is its first moment.
///
/// A value means the instant that PostgreSQL makes of it in the zone, so that every row belongs to exactly one slice
/// also in the hour that daylight saving repeats. Where the offset does not change near a boundary, which the
/// planner finds out for itself since everything there is constant, that is a plain comparison; where it does, the
/// comparison is loosened by the change and each row of that stretch is looked at.
fn local_time(name: &str, slice: &TimeSlice) -> String {
    if slice.zone == "UTC" {
        let [start, end] = [slice.start, slice.end].map(|instant| format!("timestamp '{}'", written(instant, "")));
        return format!("({name} >= {start} AND {name} < {end})");
    }
    let zone = literal(&slice.zone);
    let local = |instant: DateTime<Utc>| local(instant, &slice.zone);
    let boundary = |instant: DateTime<Utc>, operator: &str, extreme: &str| {
        let hours = SHIFT.num_hours();
        let before = format!("({} + interval '{hours} hours')", local(instant - SHIFT));
        let at = local(instant);
        let after = format!("({} - interval '{hours} hours')", local(instant + SHIFT));
        format!(
            "{name} {operator} {extreme}({before}, {at}, {after}) AND (({before} = {at} AND {at} = {after}) \
             OR ({name}::timestamp AT TIME ZONE {zone}) {operator} {})",
            timestamptz(instant)
        )
    };
    format!("({} AND {})", boundary(slice.start, ">=", "LEAST"), boundary(slice.end, "<", "GREATEST"))
}

/// An instant as the zone's clocks show it.
fn local(instant: DateTime<Utc>, zone: &str) -> String {
    format!("({} AT TIME ZONE {})", timestamptz(instant), literal(zone))
}

/// Microseconds since 1970, rounded up: a slice begins and ends at the first value not before its instant.
fn micros_of(instant: DateTime<Utc>) -> i64 {
    instant.timestamp_micros() + i64::from(!instant.timestamp_subsec_nanos().is_multiple_of(1000))
}

fn ceil(value: i64, unit: i64) -> i64 {
    value.div_euclid(unit) + i64::from(value.rem_euclid(unit) != 0)
}

/// An instant as a constant with zone.
pub(super) fn timestamptz(instant: DateTime<Utc>) -> String {
    format!("timestamptz '{}'", written(instant, "+00"))
}

/// An instant in UTC as PostgreSQL reads it, followed by this zone.
fn written(instant: DateTime<Utc>, zone: &str) -> String {
    let instant = DateTime::from_timestamp_micros(micros_of(instant)).unwrap_or(instant);
    let (year, era) = if instant.year() > 0 { (instant.year(), "") } else { (1 - instant.year(), " BC") };
    format!(
        "{year:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}{zone}{era}",
        instant.month(),
        instant.day(),
        instant.hour(),
        instant.minute(),
        instant.second(),
        instant.timestamp_subsec_micros()
    )
}

#[cfg(test)]
mod tests;
