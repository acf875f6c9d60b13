//! The last gate over columns whose types are not plain: nested ones are stepped over row by row, and bytes that stand
//! where text would be searched must be coordinates.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int32Array, ListArray, StringArray, StructArray};
use arrow::datatypes::{Field, Int32Type};
use arrow::record_batch::RecordBatch;
use classification::{ColumnKind, Predicate};
use data_exporter::jobs::{Compression, ExportFormat, FileForm};
use data_exporter::pipeline::TablePlan;
use data_exporter::pipeline::encode::parquet::ParquetOptions;
use data_exporter::warehouse::{ColumnOptions, GeometryForm, OnTooLong};

use crate::gate_files::{Bench, column, file, one_of, plan};

/// A plan of these columns: name, PostgreSQL's type, kind, the manifest's type.
fn planned(columns: &[(&str, &str, ColumnKind, &str)]) -> TablePlan {
    let mut plan = plan();
    plan.policy.columns = columns.iter().map(|(name, sql_type, kind, _)| column(name, sql_type, *kind)).collect();
    plan.manifest_types = columns.iter().map(|(.., base)| (*base).to_owned()).collect();
    plan
}

fn point(x: f64) -> Vec<u8> {
    [&[1, 1, 0, 0, 0], &x.to_le_bytes()[..], &50_f64.to_le_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_the_place_of_text_are_coordinates_or_refused() {
    let bench = Bench::new().await;
    let batch = |values: Vec<Option<&[u8]>>| {
        let shapes: ArrayRef = Arc::new(BinaryArray::from(values));
        file(&[RecordBatch::try_from_iter_with_nullable([("shape", shapes, true)]).unwrap()], ParquetOptions::default())
    };
    let (one, two) = (point(8.0), point(9.0));
    let shapes = batch(vec![Some(&one), None, Some(&two)]);
    let letters = batch(vec![Some(&one), Some(b"jane@example.com"), None]);
    let mut longer = point(8.0);
    longer.extend_from_slice(b"jane@example.com");
    let longer = batch(vec![Some(&longer)]);

    let mut plan = planned(&[("shape", "text", ColumnKind::Text, "binary varying")]);
    // Nobody asked for a search: bytes are bytes.
    assert_eq!(bench.pass(&plan, &letters, 3).await.unwrap().rows, 3);
    plan.policy.columns[0].scan = true;
    let refused = bench.pass(&plan, &shapes, 3).await.unwrap_err();
    assert!(refused.message.contains("'shape' in a type that cannot be searched"), "{refused}");
    plan.options = BTreeMap::from([(
        "shape".to_owned(),
        ColumnOptions { geometry: Some(GeometryForm::Wkb), ..ColumnOptions::default() },
    )]);
    let report = bench.pass(&plan, &shapes, 3).await.unwrap();
    assert_eq!((report.rows, report.values, report.searched), (3, 0, 1));
    for (bytes, rows) in [(&letters, 3), (&longer, 1)] {
        let refused = bench.pass(&plan, bytes, rows).await.unwrap_err();
        assert!(refused.message.contains("bytes in 'shape' that are no geometry"), "{refused}");
        assert!(!refused.message.contains("jane"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_held_to_the_policy_beside_nested_columns_of_any_length() {
    let bench = Bench::new().await;
    let rows = 5_000;
    let lists = (0..rows).map(|row| (row % 5 > 0).then(|| (0..row % 7).map(|item| (item % 3 > 0).then_some(item))));
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
    let parts: ArrayRef = Arc::new(StructArray::from(vec![
        (
            Arc::new(Field::new("a", arrow::datatypes::DataType::Int32, true)),
            Arc::new(Int32Array::from_iter_values(0..rows)) as ArrayRef,
        ),
        (Arc::new(Field::new("b", lists.data_type().clone(), true)), Arc::clone(&lists)),
    ]));
    let batch = |last: &str| {
        let sources = (0..rows).map(|row| if row + 1 == rows { last } else { "FUSION" });
        let sources: ArrayRef = Arc::new(StringArray::from_iter_values(sources));
        let columns = [("many", Arc::clone(&lists)), ("parts", Arc::clone(&parts)), ("source", sources)];
        let columns = columns.map(|(name, array)| (name, array, true));
        let options = ParquetOptions { row_group_rows: 900, ..ParquetOptions::default() };
        file(&[RecordBatch::try_from_iter_with_nullable(columns).unwrap()], options)
    };
    let mut plan = planned(&[
        ("many", "integer[]", ColumnKind::Other, "super"),
        ("parts", "parts", ColumnKind::Other, "super"),
        ("source", "text", ColumnKind::Text, "character varying"),
    ]);
    plan.policy.columns[2].scan = true;
    plan.policy.rows = one_of("source", &["FUSION"]);
    let count = rows as usize;
    let report = bench.pass(&plan, &batch("FUSION"), count).await.unwrap();
    assert_eq!((report.rows, report.values, report.row_groups), (5_000, 5_000, 6));
    assert!(bench.pass(&plan, &batch("HERE"), count).await.unwrap_err().message.contains("by source"));
    let found = bench.pass(&TablePlan { policy: any(&plan), ..plan.clone() }, &batch("a@example.com"), count).await;
    assert!(found.unwrap_err().message.contains("'source': EMAIL in 1 values"));
    // Of columns that are all nested the smallest is read.
    plan.policy.rows = Predicate::Always;
    plan.policy.columns[2].scan = false;
    assert_eq!(bench.pass(&plan, &batch("HERE"), count).await.unwrap().rows, 5_000);
    // A cell that must be NULL, of a nested column.
    plan.policy.columns[1].cell = one_of("source", &["FUSION"]);
    assert!(bench.pass(&plan, &batch("FUSION"), count).await.is_ok());
    assert!(bench.pass(&plan, &batch("HERE"), count).await.unwrap_err().message.contains("'parts' where"));
    plan.policy.columns[1].cell = one_of("source", &["HERE"]);
    plan.policy.columns[0].scan = true;
    assert!(bench.pass(&plan, &batch("FUSION"), count).await.unwrap_err().message.contains("'many' in a type"));
}

fn any(plan: &TablePlan) -> classification::Policy {
    classification::Policy { rows: Predicate::Always, ..plan.policy.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_written_otherwise_do_not_decide() {
    let bench = Bench::new().await;
    let batch = |source: &str| {
        let sources: ArrayRef = Arc::new(StringArray::from(vec![source]));
        file(
            &[RecordBatch::try_from_iter_with_nullable([("source", sources, true)]).unwrap()],
            ParquetOptions::default(),
        )
    };
    // The policy's text of an address has its length, the file's has not.
    let mut plan = planned(&[("source", "inet", ColumnKind::Text, "character varying")]);
    plan.policy.rows = one_of("source", &["192.0.2.7/32", "2001:db8::7/128"]);
    for (source, passes) in [("192.0.2.7", true), ("2001:db8::7", true), ("192.0.2.8", false), ("192.0.2.7/24", false)]
    {
        assert_eq!(bench.pass(&plan, &batch(source), 1).await.is_ok(), passes, "{source}");
    }
    // Text is compared as it is, unless an option says that it was changed.
    let mut plan = planned(&[("source", "text", ColumnKind::Text, "character varying")]);
    plan.policy.rows = one_of("source", &["a longer text/32"]);
    assert!(bench.pass(&plan, &batch("a longer text"), 1).await.is_err());
    let cut = ColumnOptions { on_too_long: Some(OnTooLong::Truncate), ..ColumnOptions::default() };
    plan.options.insert("source".to_owned(), cut);
    assert!(bench.pass(&plan, &batch("a longer text"), 1).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_held_to_the_same_types() {
    let bench = Bench::new().await;
    let wkb = ColumnOptions { geometry: Some(GeometryForm::Wkb), ..ColumnOptions::default() };
    let mut shape = planned(&[("v", "text", ColumnKind::Text, "binary varying")]);
    shape.policy.columns[0].scan = true;
    let unasked = shape.clone();
    shape.options.insert("v".to_owned(), wkb);
    let native = planned(&[("v", "uuid", ColumnKind::Uuid, "binary varying")]);
    let time = planned(&[("v", "time without time zone", ColumnKind::Time, "time without time zone")]);
    let many = planned(&[("v", "integer[]", ColumnKind::Other, "super")]);
    let mut searched = many.clone();
    searched.policy.columns[0].scan = true;

    let point = "0101000000000000000000f03f0000000000000040";
    // "jane@example.com" behind a point
    let letters = format!("{point}6a616e65406578616d706c652e636f6d");
    let uuid = "12345678-0123-4567-89ab-cdefabcdef01";
    for (plan, text, refused) in [
        (&shape, point, None),
        (&shape, &letters, Some("no geometry")),
        (&unasked, point, Some("'v' in a type that cannot be searched")),
        (&native, uuid, None),
        (&native, "jane", Some("no UUID")),
        (&time, "23:59:59.999999", None),
        (&time, "jane", Some("no time of day")),
    ] {
        for (format, file) in
            [(ExportFormat::Csv, format!("v\r\n{text}\r\n")), (ExportFormat::Jsonl, format!("{{\"v\":\"{text}\"}}\n"))]
        {
            held(&bench, plan, format, &file, refused).await;
        }
    }
    for (plan, refused) in [(&many, None), (&searched, Some("'v' in a type that cannot be searched"))] {
        held(&bench, plan, ExportFormat::Csv, "v\r\n\"[1,null]\"\r\n", refused).await;
        held(&bench, plan, ExportFormat::Jsonl, "{\"v\":[1,null]}\n", refused).await;
    }
}

/// One row of this file passes, or is refused in these words and without the value.
async fn held(bench: &Bench, plan: &TablePlan, format: ExportFormat, file: &str, refused: Option<&str>) {
    let form = FileForm { format, compression: Compression::None, formula_guard: true };
    let found = bench.pass(&TablePlan { form, ..plan.clone() }, file.as_bytes(), 1).await;
    match (found, refused) {
        (Ok(report), None) => assert_eq!((report.rows, report.values), (1, 0), "{file}"),
        (Err(failure), Some(words)) => {
            assert!(failure.message.contains(words) && !failure.message.contains("jane"), "{file}: {failure}");
        }
        (found, _) => panic!("{file}: {found:?}"),
    }
}
