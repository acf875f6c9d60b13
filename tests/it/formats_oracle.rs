//! Random tables of random types as CSV and JSONL: readers that are not ours find in every cell what PostgreSQL says is
//! in it, in the form that `docs/formats.md` gives it, and the last gate lets every such file pass.

use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use classification::rules::TypeProfile;
use classification::{ColumnKind, Policy, PolicyColumn};
use data_exporter::jobs::{Compression, ExportFormat, FileForm};
use data_exporter::pipeline::TablePlan;
use data_exporter::pipeline::encode::encoder;
use data_exporter::warehouse::ColumnOptions;
use serde_json::{Value, json};

use crate::extract_types_oracle::asked;
use crate::gate_files::{Bench, plan};
use crate::support::python;
use crate::support::random::{MADE, Tables};
use crate::support::values::said;
use crate::support::warehouse::TestWarehouse;

const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

/// What a column is to a reader of lines: how its values are written, and the type that it would be given.
fn told(field: &Field, column: &PolicyColumn, readable: bool) -> (&'static str, String) {
    let document = field.metadata().get("ARROW:extension:name").is_some_and(|name| name == "arrow.json");
    let form = match field.data_type() {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => "integer",
        DataType::Float32 | DataType::Float64 => "float",
        DataType::Boolean => "boolean",
        DataType::Utf8 if document => "document",
        DataType::Utf8 if column.kind != ColumnKind::Number => "text",
        nested if nested.is_nested() => "nested",
        _ => "plain",
    };
    let reader = match field.data_type() {
        _ if !readable => "",
        DataType::Decimal128(precision, scale) => return (form, format!("decimal({precision},{scale})")),
        DataType::Int16 => "int16",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Boolean => "bool",
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Date32 => "date",
        DataType::Time64(_) => "time",
        DataType::FixedSizeBinary(_) => "uuid",
        // Python reads them part by part.
        _ if matches!(form, "nested" | "document") => "",
        _ => "text",
    };
    (form, reader.to_owned())
}

fn write(batches: &[RecordBatch], columns: &[PolicyColumn], form: FileForm) -> Vec<u8> {
    let mut encoder = encoder(form, &batches[0].schema(), columns, Vec::new()).unwrap();
    let mut file = Vec::new();
    for batch in batches {
        encoder.write(batch).unwrap();
        file.extend(encoder.drain().concat());
    }
    file.extend(encoder.finish().unwrap().bytes.concat());
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn random_tables_of_random_types_are_in_lines_what_the_server_says() {
    let mut test = TestWarehouse::new("formats_oracle").await;
    test.run(MADE).await;
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut tables = Tables::new();
    let mut cases = Vec::new();
    for number in 0..tables.rounds() {
        let table = tables.next();
        test.run(table.sql).await;
        let mut scan = test.whole("t").await;
        let shape = test.shape("t").await;
        let mut lines = Vec::new();
        for (name, kind) in &table.columns {
            lines.push(test.texts(asked(name, &kind.line)).await);
        }
        for (turn, profile) in [TypeProfile::Portable, TypeProfile::Native].into_iter().enumerate() {
            scan.type_profile = profile;
            let batches = test.read(&scan).await.unwrap();
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            let ids: Vec<Value> = (0..rows).map(|id| id.to_string().into()).collect();
            let mut columns =
                vec![json!({"name": "id", "form": "integer", "reader": "int32", "lines": ids, "values": ids})];
            for (at, (name, kind)) in table.columns.iter().enumerate() {
                let native = profile == TypeProfile::Native;
                let field = batches[0].schema().field(at + 1).clone();
                let values = test.texts(asked(name, if native { &kind.native } else { &kind.server })).await;
                let values: Vec<Value> = values.into_iter().map(|text| said(field.data_type(), text)).collect();
                let (form, reader) = told(&field, &scan.columns[at + 1], kind.readable);
                columns.push(json!({
                    "name": name, "type": kind.sql_type, "form": form, "reader": reader, "lines": lines[at],
                    "values": values,
                }));
            }
            let manifest_types: Option<Vec<_>> = shape
                .columns
                .iter()
                .map(|column| column.manifest_type_under(profile, &ColumnOptions::default()))
                .collect();
            let mut files = Vec::new();
            for (place, format) in [ExportFormat::Csv, ExportFormat::Jsonl].into_iter().enumerate() {
                // Each table in two profiles and two formats: every compression, with a guard and without.
                let compression = COMPRESSIONS[(number + turn + place) % 3];
                let form = FileForm { format, compression, formula_guard: (number + turn) % 2 == 0 };
                let bytes = write(&batches, &scan.columns, form);
                let plan = TablePlan {
                    policy: Policy { columns: scan.columns.clone(), ..plan().policy },
                    form,
                    manifest_types: manifest_types.clone().unwrap(),
                    ..plan()
                };
                let passed = bench.pass(&plan, &bytes, rows).await;
                let passed =
                    passed.unwrap_or_else(|refused| panic!("table {number}, {profile:?}, {form:?}: {refused}"));
                assert_eq!(passed.rows, rows as u64);
                let path = folder.path().join(format!("{number}-{turn}.{}", form.extension()));
                std::fs::write(&path, bytes).unwrap();
                files.push(json!({"path": path, "guarded": form.formula_guard}));
            }
            cases.push(json!({"table": number, "columns": columns, "files": files}));
        }
    }
    let path = folder.path().join("cases.json");
    std::fs::write(&path, Value::Array(cases).to_string()).unwrap();
    let found = python::run("compare_said.py", [&path]);
    assert_eq!(found.trim(), format!("equal: {} files", tables.rounds() * 4), "{found}");
}
