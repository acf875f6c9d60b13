//! Independent readers: what they find in files, compared with what PostgreSQL says of its rows.

use std::path::{Path, PathBuf};

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;

use super::python;

/// Writes what the files must hold: these columns of a table, for the rows of a condition. `name=expression` is a
/// column that does not leave as it is.
pub(crate) async fn expect(pool: &PgPool, table: &str, columns: &[&str], condition: &str, path: &Path) {
    let types: Vec<(String, String)> = sqlx::query_as(
        "SELECT column_name::text, data_type::text FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name = $1",
    )
    .bind(table)
    .fetch_all(pool)
    .await
    .unwrap();
    let texts: Vec<String> = columns
        .iter()
        .map(|written| {
            let (name, column) = written.split_once('=').unwrap_or((written, written));
            let (_, data_type) =
                types.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{table}.{name}"));
            match data_type.as_str() {
                "timestamp with time zone" => {
                    format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')")
                }
                "timestamp without time zone" => format!("to_char({column}, 'YYYY-MM-DD HH24:MI:SS.US')"),
                "time without time zone" => format!("to_char({column}, 'HH24:MI:SS.US')"),
                "real" => format!("encode(float4send({column}), 'hex')"),
                "double precision" => format!("encode(float8send({column}), 'hex')"),
                "bytea" => format!("encode({column}, 'hex')"),
                "character" => format!("convert_from(bpcharsend({column}), 'UTF8')"),
                _ => format!("{column}::text"),
            }
        })
        .collect();
    let sql = format!("SELECT json_build_array({})::text FROM {table} WHERE {condition}", texts.join(", "));
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
    let names: Vec<&str> = columns.iter().map(|column| column.split('=').next().unwrap()).collect();
    let mut text = serde_json::to_string(&names).unwrap();
    for row in rows {
        text.push('\n');
        text.push_str(&row);
    }
    std::fs::write(path, text).unwrap();
}

/// Both readers find exactly what is expected. Returns the number of rows.
pub(crate) fn compare(expected: &Path, files: &[PathBuf]) -> u64 {
    let mut rows = None;
    for reader in ["pyarrow", "duckdb"] {
        let mut arguments = vec![reader.into(), expected.as_os_str().to_owned()];
        arguments.extend(files.iter().map(|file| file.as_os_str().to_owned()));
        let found: u64 = python::run("compare.py", arguments).trim().parse().unwrap();
        assert_eq!(*rows.get_or_insert(found), found);
    }
    rows.unwrap()
}
