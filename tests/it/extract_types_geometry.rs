//! Geometry: in text, and in PostGIS's types, for which a type of the same name, of an extension too, stands in that
//! sends the bytes that it is given.

use arrow::record_batch::RecordBatch;
use classification::ColumnKind;
use classification::rules::TypeProfile;
use data_exporter::error::ErrorCode;
use data_exporter::warehouse::{
    ColumnOptions, FidelityCount, GeometryForm, OnTooLong, OnUnrepresentable, ScanSpec, Warehouse, WarehouseError,
};
use serde_json::{Value, json};

use crate::extract_types_more::write;
use crate::support::python;
use crate::support::values::column;
use crate::support::warehouse::{TestWarehouse, context};

pub(crate) async fn read(
    test: &TestWarehouse,
    scan: &ScanSpec,
) -> Result<(Vec<RecordBatch>, Vec<FidelityCount>), WarehouseError> {
    let mut stream = test.warehouse.scan(scan, &context("data-exporter test")).await?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await? {
        batches.push(batch);
    }
    Ok((batches, stream.fidelity()))
}

pub(crate) fn counts(counts: &[FidelityCount]) -> Vec<(&str, &str, u64)> {
    counts.iter().map(|found| (found.action.as_str(), found.reason.as_str(), found.count)).collect()
}

#[tokio::test]
async fn texts_that_hold_geometry_are_rounded_checked_and_written_in_each_form() {
    const COLLAPSED: &str = "rounding would make a ring collapse";
    const NONE: &str = "the text is no well-known text of points, lines and polygons";
    let mut test = TestWarehouse::new("types_geometry_text").await;
    test.run(
        "CREATE TABLE t (id int, w text, j jsonb);
         INSERT INTO t VALUES
         (1, 'LINESTRING(-120.2 38.5,-120.95 40.7,-126.453 43.252)', '{\"type\": \"Point\", \"coordinates\": [1.23456, 2]}'),
         (2, 'POLYGON((0 0,0.004 0,0.004 0.004,0 0))', NULL),
         (3, NULL, NULL),
         (4, 'name@example.com', NULL)",
    )
    .await;
    let mut scan = test.whole("t").await;
    let plain = ColumnOptions { decimals: Some(1), ..ColumnOptions::default() };
    let kept = "POLYGON((0 0,0.004 0,0.004 0.004,0 0))";
    let line = "LINESTRING(-120.2 38.5,-121 40.7,-126.5 43.3)";
    for (form, on, want, counted) in [
        (GeometryForm::Text, OnUnrepresentable::Error, None, vec![]),
        (
            GeometryForm::Text,
            OnUnrepresentable::Null,
            Some(json!([line, null, null, null])),
            vec![("nulled", COLLAPSED, 1), ("nulled", NONE, 1)],
        ),
        (
            GeometryForm::Polyline,
            OnUnrepresentable::Null,
            Some(json!(["aWbjAk@Ns@lB", null, null, null])),
            vec![("nulled", COLLAPSED, 1), ("nulled", NONE, 1)],
        ),
    ] {
        let options = ColumnOptions { geometry: Some(form), on_unrepresentable: on, ..plain };
        scan.options = [("w".to_owned(), options)].into();
        match (read(&test, &scan).await, want) {
            (Ok((batches, found)), Some(want)) => {
                let values = column(&batches, 1);
                assert_eq!(Value::from(values), want, "{form:?} {on:?}");
                assert_eq!(counts(&found), counted, "{form:?} {on:?}");
            }
            (Err(error), None) => assert_eq!(error.code(), ErrorCode::ValueUnrepresentable, "{error}"),
            (found, want) => panic!("{form:?} {on:?}: {found:?} instead of {want:?}"),
        }
    }
    // Without what is no geometry, the default keeps what rounding would break, and says so.
    test.run("DELETE FROM t WHERE id = 4").await;
    scan.options = [
        ("w".to_owned(), ColumnOptions { geometry: Some(GeometryForm::Text), ..plain }),
        ("j".to_owned(), ColumnOptions { geometry: Some(GeometryForm::Text), ..plain }),
    ]
    .into();
    let (batches, found) = read(&test, &scan).await.unwrap();
    assert_eq!(column(&batches, 1), [json!(line), json!(kept), Value::Null]);
    assert_eq!(column(&batches, 2)[0], json!("{\"type\": \"Point\", \"coordinates\": [1.2, 2]}"));
    assert_eq!(counts(&found), [("kept", COLLAPSED, 1)]);
    // A text that names its reference system keeps it; where the form has no place for it, all must be in one.
    test.run(
        "CREATE TABLE systems AS
         SELECT * FROM (VALUES (1, 'SRID=4326;POINT(1 2)'), (2, 'SRID=3857;POINT(1 2)')) s (id, w)",
    )
    .await;
    for form in [GeometryForm::Text, GeometryForm::Wkb, GeometryForm::Polyline] {
        let mut scan = test.whole("systems").await;
        let on_unrepresentable = OnUnrepresentable::Null;
        let options = ColumnOptions { geometry: Some(form), on_unrepresentable, ..ColumnOptions::default() };
        scan.options = [("w".to_owned(), options)].into();
        match read(&test, &scan).await {
            Ok((batches, _)) if form == GeometryForm::Text => {
                assert_eq!(column(&batches, 1), [json!("SRID=4326;POINT(1 2)"), json!("SRID=3857;POINT(1 2)")]);
            }
            Err(error) if form != GeometryForm::Text => {
                assert!(error.to_string().contains("several reference systems"), "{form:?}: {error}");
            }
            other => panic!("{form:?}: {other:?}"),
        }
    }
    // The limit counts what is written, not what came.
    test.run("INSERT INTO t SELECT 5, 'LINESTRING(' || string_agg(g || '.111111 1.11111', ',') || ')' FROM generate_series(1, 5000) g").await;
    for (form, long) in [(GeometryForm::Text, true), (GeometryForm::Polyline, false)] {
        let limited = ColumnOptions {
            geometry: Some(form),
            decimals: Some(5),
            on_too_long: Some(OnTooLong::Null),
            on_unrepresentable: OnUnrepresentable::Null,
        };
        scan.options = [("w".to_owned(), limited)].into();
        let (batches, found) = read(&test, &scan).await.unwrap();
        assert_eq!(column(&batches, 1)[3].is_null(), long, "{form:?}");
        let said = found.iter().any(|count| count.reason == "the text is longer than 65535 bytes");
        assert_eq!(said, long, "{form:?}: {found:?}");
    }
}

/// A type with the name and the bytes of PostGIS's, which belongs to an extension.
const STAND_IN: &str = "
CREATE SCHEMA IF NOT EXISTS stand_in;
CREATE TYPE stand_in.geometry;
CREATE FUNCTION stand_in.geometry_in(cstring) RETURNS stand_in.geometry LANGUAGE internal IMMUTABLE STRICT AS 'byteain';
CREATE FUNCTION stand_in.geometry_out(stand_in.geometry) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'byteaout';
CREATE FUNCTION stand_in.geometry_send(stand_in.geometry) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'byteasend';
CREATE TYPE stand_in.geometry (INPUT = stand_in.geometry_in, OUTPUT = stand_in.geometry_out, SEND = stand_in.geometry_send,
                               STORAGE = extended);
ALTER EXTENSION plpgsql ADD TYPE stand_in.geometry;";

/// A point as PostGIS sends it.
fn point(srid: u32, x: f64, y: f64) -> String {
    let head = if srid == 0 {
        [0x01, 0x01, 0, 0, 0].to_vec()
    } else {
        [&[1, 1, 0, 0, 0x20][..], &srid.to_le_bytes()].concat()
    };
    let bytes = [&head[..], &x.to_le_bytes(), &y.to_le_bytes()].concat();
    format!("'\\x{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[tokio::test]
async fn geometry_of_an_extension_becomes_well_known_binary_of_one_reference_system() {
    let mut test = TestWarehouse::new("types_geometry").await;
    test.run(format!("DROP SCHEMA IF EXISTS stand_in CASCADE; CREATE EXTENSION IF NOT EXISTS plpgsql; {STAND_IN}"))
        .await;
    test.run("CREATE TABLE t (id bigint, g stand_in.geometry)").await;
    for (id, value) in [point(4326, 1.25, 2.0), "NULL".to_owned(), point(4326, -3.0, 4.5)].iter().enumerate() {
        test.run(format!("INSERT INTO t VALUES ({id}, {value})")).await;
    }
    let shape = test.shape("t").await;
    assert_eq!(shape.columns[1].catalog.kind, ColumnKind::Other);
    assert_eq!(shape.columns[1].manifest_type.as_deref(), Some("binary varying"));
    let folder = tempfile::tempdir().unwrap();
    for (profile, logical) in [(TypeProfile::Portable, "None"), (TypeProfile::Native, "Geometry")] {
        let mut scan = test.whole("t").await;
        scan.type_profile = profile;
        let (batches, found) = read(&test, &scan).await.unwrap();
        let want = "0101000000000000000000f43f0000000000000040";
        assert_eq!(
            column(&batches, 1),
            [json!(want), Value::Null, json!("010100000000000000000008c00000000000001240")]
        );
        assert_eq!(counts(&found), [("noted", "it is in the reference system 4326, which its type does not state", 2)]);
        let path = folder.path().join("t.parquet");
        write(&path, &batches);
        let said = python::run("geometry.py", [path.as_os_str(), "g".as_ref()]);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[0], "1.1.0 g WKB null");
        assert!(lines[1].starts_with(logical), "{said}");
    }
    // Rounded, as text.
    let mut scan = test.whole("t").await;
    let text = ColumnOptions { geometry: Some(GeometryForm::Text), decimals: Some(1), ..ColumnOptions::default() };
    scan.options = [("g".to_owned(), text)].into();
    let (batches, _) = read(&test, &scan).await.unwrap();
    assert_eq!(column(&batches, 1), [json!("POINT(1.3 2)"), Value::Null, json!("POINT(-3 4.5)")]);
    // Another reference system, or none, is an error whatever the policy says.
    for other in [point(3857, 0.0, 0.0), point(0, 0.0, 0.0)] {
        test.run(format!("DELETE FROM t WHERE id > 2; INSERT INTO t VALUES (3, {other})")).await;
        for on in [OnUnrepresentable::Error, OnUnrepresentable::Null, OnUnrepresentable::Clamp] {
            let mut scan = test.whole("t").await;
            scan.options =
                [("g".to_owned(), ColumnOptions { on_unrepresentable: on, ..ColumnOptions::default() })].into();
            let error = read(&test, &scan).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::ValueUnrepresentable, "{error}");
            assert!(error.to_string().contains("several reference systems"), "{error}");
        }
    }
    // A type that only has the name is not taken for it.
    test.run("ALTER EXTENSION plpgsql DROP TYPE stand_in.geometry").await;
    assert_eq!(test.shape("t").await.columns[1].manifest_type, None);
}
