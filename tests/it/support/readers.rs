//! Independent readers: what they find in files, compared with what PostgreSQL says of its rows.

use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;

/// The Python that `make test` has set up.
pub(crate) fn python() -> String {
    std::env::var("EXPORTER_TEST_PYTHON")
        .expect("EXPORTER_TEST_PYTHON names no Python with pyarrow, duckdb and moto; run the tests by `make test`")
}

/// Writes what the files must hold: these columns of a table, for the rows of a condition.
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
        .map(|column| {
            let (_, data_type) =
                types.iter().find(|(name, _)| name == column).unwrap_or_else(|| panic!("{table}.{column}"));
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
    let mut text = serde_json::to_string(columns).unwrap();
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
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers/compare.py");
        let done = Command::new(python()).arg(script).arg(reader).arg(expected).args(files).output().unwrap();
        assert!(done.status.success(), "{reader}, {}: {}", expected.display(), String::from_utf8_lossy(&done.stderr));
        let found: u64 = String::from_utf8_lossy(&done.stdout).trim().parse().unwrap();
        assert_eq!(*rows.get_or_insert(found), found);
    }
    rows.unwrap()
}
