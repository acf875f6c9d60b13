//! Compares downloaded files with the warehouse, row by row, without using anything that made the files.
//!
//! Each row becomes a text, each text an MD5; the sum of the first 32 bits of all of them, and their number, must be
//! the same on both sides. PostgreSQL makes its own texts and sums. Columns that the rules change are held to what the
//! change promises, see [`changed`].

mod changed;

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, TimeDelta};
use md5::{Digest, Md5};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use self::changed::{Change, Counts};
use crate::error::{ErrorCode, Failure};

/// What of each sample table must be in the files: its time column, and the rows that may leave. Written by hand, so
/// that a mistake of the policy engine cannot excuse itself.
pub(super) const EXPECTED: &[(&str, &str, &str)] = &[
    ("cctv", "seen_at", "true"),
    ("incident", "reported_at", "true"),
    ("probe_speed", "ts", "source = 'FUSION'"),
    (
        "sensor_metric",
        "to_timestamp(recorded_epoch)",
        "metric_name IN ('air_temperature', 'flow', 'mean_speed', 'occupancy', 'rain_intensity')",
    ),
    ("travel_time", "measured_at AT TIME ZONE 'UTC'", "source = 'FUSION'"),
    ("vms", "shown_at", "true"),
    ("way", "updated_at", "true"),
];

/// A comparison that found no difference.
pub(super) struct Compared {
    pub(super) rows: i64,
    pub(super) columns: Vec<String>,
    pub(super) changed: Vec<String>,
    pub(super) left_out: Vec<String>,
}

/// Compares one table's files with the warehouse's rows of one day.
pub(super) async fn table(
    warehouse: &SecretString,
    table: &str,
    day: NaiveDate,
    files: Vec<Bytes>,
) -> Result<Compared, Failure> {
    let (_, time, rows) = EXPECTED
        .iter()
        .find(|(name, ..)| *name == table)
        .ok_or_else(|| wrong(table, "was exported and must not be"))?;
    let mut exported = Sum::default();
    let mut columns: Option<Vec<String>> = None;
    let mut apart: BTreeMap<usize, Counts> = BTreeMap::new();
    for file in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|_| wrong(table, "has a file that is not Parquet"))?;
        let names: Vec<String> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
        if columns.get_or_insert_with(|| names.clone()) != &names {
            return Err(wrong(table, "has files with different columns"));
        }
        for (place, name) in names.iter().enumerate() {
            if changed::of(table, name).is_some_and(|change| !matches!(change, Change::Rounded)) {
                apart.entry(place).or_default();
            }
        }
        for batch in reader.build().map_err(|_| wrong(table, "has a file that cannot be read"))? {
            exported.add(&batch.map_err(|_| wrong(table, "has a file that cannot be read"))?, table, &mut apart)?;
        }
    }
    let columns = columns.ok_or_else(|| wrong(table, "has no files"))?;

    let mut sql = PgConnection::connect(warehouse.expose_secret())
        .await
        .map_err(|_| wrong(table, "cannot be compared: no connection"))?;
    let types: Vec<(String, String)> = sqlx::query_as(
        "SELECT column_name::text, data_type::text FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position",
    )
    .bind(table)
    .fetch_all(&mut sql)
    .await
    .map_err(|_| wrong(table, "cannot be compared: no catalog"))?;
    let texts: Vec<String> = columns
        .iter()
        .enumerate()
        .filter(|(place, _)| !apart.contains_key(place))
        .map(|(_, column)| {
            let data_type = types.iter().find(|(name, _)| name == column).map(|(_, data_type)| data_type.as_str());
            let name = format!("\"{}\"", column.replace('"', "\"\""));
            let value = if changed::of(table, column).is_some() { changed::rounded(&name) } else { name };
            Ok(format!(
                "coalesce({}, '~')",
                text_of(&value, data_type.ok_or_else(|| wrong(table, "has a column that the warehouse lacks"))?)
            ))
        })
        .collect::<Result<_, Failure>>()?;
    let condition = format!("{time} >= '{day}T00:00Z' AND {time} < '{}T00:00Z' AND {rows}", day + TimeDelta::days(1));
    let statement = format!(
        "SELECT count(*), coalesce(sum(('x' || left(md5({}), 8))::bit(32)::bigint), 0)::bigint
         FROM {table} WHERE {condition}",
        texts.join(" || chr(31) || "),
    );
    // Made of the constants above and of column names that the catalog knows.
    let row = sqlx::query(AssertSqlSafe(statement))
        .fetch_one(&mut sql)
        .await
        .map_err(|_| wrong(table, "cannot be compared: the query failed"))?;
    let kept = Sum { rows: row.get(0), hashes: row.get(1) };
    for (place, found) in &apart {
        let column = &columns[*place];
        let kept = changed::kept(&mut sql, table, column, &condition).await?;
        if let Some(difference) = changed::of(table, column).and_then(|change| change.difference(found, &kept)) {
            return Err(wrong(table, &format!("has {difference} in its column '{column}'")));
        }
    }
    let _ = sql.close().await;
    if exported != kept {
        return Err(wrong(
            table,
            &format!(
                "differs: {} rows were exported, {} are in the warehouse{}",
                exported.rows,
                kept.rows,
                if exported.rows == kept.rows { ", with other values" } else { "" }
            ),
        ));
    }
    let changed = columns.iter().filter(|column| changed::of(table, column).is_some()).cloned().collect();
    let left_out = types.into_iter().map(|(name, _)| name).filter(|name| !columns.contains(name)).collect();
    Ok(Compared { rows: exported.rows, columns, changed, left_out })
}

/// The text of a value, as [`cell`] writes it too.
fn text_of(name: &str, data_type: &str) -> String {
    match data_type {
        "timestamp with time zone" => format!("to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"),
        "timestamp without time zone" => format!("to_char({name}, 'YYYY-MM-DD HH24:MI:SS.US')"),
        "time without time zone" => format!("to_char({name}, 'HH24:MI:SS.US')"),
        "date" => format!("to_char({name}, 'YYYY-MM-DD')"),
        "real" => format!("encode(float4send({name}), 'hex')"),
        "double precision" => format!("encode(float8send({name}), 'hex')"),
        "bytea" => format!("encode({name}, 'hex')"),
        // Its blanks belong to the value; a cast to text would take them away.
        "character" => format!("convert_from(bpcharsend({name}), 'UTF8')"),
        _ => format!("{name}::text"),
    }
}

/// How many rows, and the sum of their hashes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    rows: i64,
    hashes: i64,
}

impl Sum {
    fn add(&mut self, batch: &RecordBatch, table: &str, apart: &mut BTreeMap<usize, Counts>) -> Result<(), Failure> {
        for row in 0..batch.num_rows() {
            let mut text = String::new();
            for (place, column) in batch.columns().iter().enumerate() {
                if let Some(counts) = apart.get_mut(&place) {
                    let value = if column.is_null(row) { None } else { cell(column, row) };
                    *counts.entry(value).or_default() += 1;
                    continue;
                }
                if !text.is_empty() {
                    text.push('\u{1f}');
                }
                match cell(column, row) {
                    _ if column.is_null(row) => text.push('~'),
                    Some(value) => text.push_str(&value),
                    None => {
                        return Err(wrong(
                            table,
                            &format!("has a column of type {}, which is not compared", column.data_type()),
                        ));
                    }
                }
            }
            let digest = Md5::digest(text.as_bytes());
            self.rows += 1;
            self.hashes += i64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]));
        }
        Ok(())
    }
}

fn cell(column: &dyn Array, row: usize) -> Option<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Some(match column.data_type() {
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => hex(&column.as_primitive::<Float32Type>().value(row).to_be_bytes()),
        DataType::Float64 => hex(&column.as_primitive::<Float64Type>().value(row).to_be_bytes()),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Boolean => column.as_any().downcast_ref::<BooleanArray>()?.value(row).to_string(),
        DataType::Utf8 => column.as_any().downcast_ref::<StringArray>()?.value(row).to_owned(),
        DataType::Binary => hex(column.as_any().downcast_ref::<BinaryArray>()?.value(row)),
        DataType::Date32 => column.as_primitive::<Date32Type>().value_as_date(row)?.to_string(),
        DataType::Timestamp(..) => {
            let micros = column.as_any().downcast_ref::<TimestampMicrosecondArray>()?.value(row);
            DateTime::from_timestamp_micros(micros)?.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
        }
        _ => return None,
    })
}

fn wrong(table: &str, what: &str) -> Failure {
    Failure::new(ErrorCode::Internal, format!("table '{table}' {what}"))
}
