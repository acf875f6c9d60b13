//! CSV and JSONL: readers that are not ours find in them what they find in Parquet.

use std::path::{Path, PathBuf};

use data_exporter::jobs::{Compression, ExportFormat, FileForm};
use data_exporter::pipeline::encode::encoder;
use data_exporter::warehouse::ScanSpec;

use crate::support::python;
use crate::support::warehouse::TestWarehouse;

/// Texts that a format of lines could trip over.
const TEXTS: &str =
    "(ARRAY['', 'a', ' edges ', 'q\"uo\"te', ',', '\"', E'line\\nend', E'crlf\\r\\n', E'tab\\t', 'ünï 🚗',
    E'\\u202eright', E'\\\\N', 'null', 'NULL', E'\\x01', '=1+1', '-1', repeat('x', 70000), NULL])[1 + i % 19]";

async fn table(test: &mut TestWarehouse) -> ScanSpec {
    test.run(format!(
        "CREATE TABLE t AS SELECT i AS id, (i % 7)::smallint AS small, (i::bigint << 40) - 1 AS big,
            CASE WHEN i % 5 > 0 THEN (i * 1.1)::real END AS narrow,
            CASE i % 6 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-Infinity' ELSE i / 7.0 END::float8 AS wide,
            (i * 1234567.891)::numeric(30,5) AS exact, i % 3 = 0 AS flag, {TEXTS} AS text, {TEXTS}::varchar AS again,
            timestamptz '1969-12-31 23:59:59.999999Z' + i * interval '37 hours 1 microsecond' AS at,
            timestamp '2024-02-29' - i * interval '3 days' AS local, date '1582-10-04' + i AS day,
            jsonb_build_object('text', left({TEXTS}, 90), 'n', 1234567.25, 'list', jsonb_build_array(i, NULL)) AS doc
         FROM generate_series(1, 400) AS i"
    ))
    .await;
    test.whole("t").await
}

async fn write(test: &TestWarehouse, scan: &ScanSpec, form: FileForm, folder: &Path) -> PathBuf {
    let batches = test.read(scan).await.unwrap();
    let mut encoder = encoder(form, &batches[0].schema(), &scan.columns, Vec::new()).unwrap();
    let mut file = Vec::new();
    for batch in &batches {
        encoder.write(batch).unwrap();
        file.extend(encoder.drain().concat());
    }
    file.extend(encoder.finish().unwrap().bytes.concat());
    let path = folder.join(format!("t.{}", form.extension()));
    std::fs::write(&path, file).unwrap();
    path
}

#[tokio::test]
async fn readers_find_in_lines_what_they_find_in_parquet() {
    let mut test = TestWarehouse::new("formats").await;
    let mut scan = table(&mut test).await;
    // A guard against formulas changes values; here they are to be the same, so the columns pass for numbers.
    for column in &mut scan.columns {
        column.kind = classification::ColumnKind::Number;
    }
    let folder = tempfile::tempdir().unwrap();
    let parquet = write(&test, &scan, FileForm::PARQUET, folder.path()).await;
    for format in [ExportFormat::Csv, ExportFormat::Jsonl] {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let file = write(&test, &scan, FileForm { format, compression, formula_guard: false }, folder.path()).await;
            let readers: &[&str] = match format {
                ExportFormat::Csv => &["python", "duckdb", "pyarrow"],
                _ => &["python", "duckdb"],
            };
            for reader in readers {
                let arguments = [reader.as_ref(), parquet.as_os_str(), file.as_os_str()];
                assert_eq!(python::run("compare_lines.py", arguments).trim(), "400", "{reader} {file:?}");
            }
        }
    }
}
