//! PostGIS itself, where the server has it: what it stores is what files hold, by its own word.

use classification::rules::TypeProfile;
use data_exporter::error::ErrorCode;
use data_exporter::warehouse::postgres::{PostgresOptions, PostgresWarehouse};
use data_exporter::warehouse::{ColumnOptions, GeometryForm, OnUnrepresentable};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::extract_types_geometry::{counts, read};
use crate::extract_types_more::write;
use crate::support::values::column;
use crate::support::warehouse::TestWarehouse;
use crate::support::{cluster, python};

/// A database with PostGIS; `None`, and said so, where the server does not have it.
async fn postgis(name: &str) -> Option<TestWarehouse> {
    let url = cluster::create(name).await;
    let mut sql = PgConnection::connect(&url).await.unwrap();
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'postgis')")
        .fetch_one(&mut sql)
        .await
        .unwrap();
    if !there {
        eprintln!("NOT TESTED: this server has no PostGIS; a stand-in that sends the same bytes is tested everywhere");
        return None;
    }
    let warehouse = PostgresWarehouse::new(SecretString::from(url), PostgresOptions::default()).unwrap();
    let mut test = TestWarehouse { schema: "public".to_owned(), sql, warehouse };
    test.run("CREATE EXTENSION postgis SCHEMA public").await;
    Some(test)
}

/// A type, what the field says of its reference system, and values.
const TYPES: [(&str, Option<&str>, &[&str]); 8] = [
    ("geometry(Point, 3857)", Some("3857"), &["SRID=3857;POINT(1.25 -0)", "SRID=3857;POINT(1e308 -1e-308)"]),
    ("geometry(PointZ, 4326)", Some("4326"), &["SRID=4326;POINT Z (1 2 3)"]),
    ("geometry(PointM, 25832)", Some("25832"), &["SRID=25832;POINT M (1 2 3)"]),
    ("geometry(LineStringZM)", None, &["LINESTRING ZM (1 2 3 4, 5 6 7 8)", "LINESTRING ZM EMPTY"]),
    (
        "geometry",
        None,
        &[
            "POINT EMPTY",
            "LINESTRING(0 0, 1 1)",
            "POLYGON((0 0,9 0,9 9,0 9,0 0),(1 1,2 1,2 2,1 1))",
            "MULTIPOINT((1 2),(3 4))",
            "MULTILINESTRING((0 0,1 1),(2 2,3 3))",
            "MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))",
            "GEOMETRYCOLLECTION(POINT(1 2),GEOMETRYCOLLECTION(LINESTRING(0 0,1 1),POLYGON EMPTY))",
            "GEOMETRYCOLLECTION EMPTY",
        ],
    ),
    ("geography", Some("4326"), &["POINT(179.999999 -89.5)", "POLYGON((0 0,1 0,1 1,0 0))"]),
    ("geography(PolygonZ, 4326)", Some("4326"), &["POLYGON Z ((0 0 1,1 0 2,1 1 3,0 0 1))"]),
    ("geography(LineString, 4267)", Some("4267"), &["SRID=4267;LINESTRING(1 2,3 4)"]),
];

#[tokio::test]
async fn every_type_of_postgis_is_what_it_says_itself() {
    let Some(mut test) = postgis("postgis_types").await else { return };
    let folder = tempfile::tempdir().unwrap();
    for (sql_type, srid, values) in TYPES {
        test.run(format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint, g {sql_type})")).await;
        for (id, value) in values.iter().enumerate() {
            test.run(format!("INSERT INTO t VALUES ({id}, '{value}'), ({id}, NULL)")).await;
        }
        // ISO well-known binary, which is what it writes without the reference system.
        let want = test.texts("SELECT encode(ST_AsBinary(g, 'NDR'), 'hex') FROM t ORDER BY id, g IS NULL").await;
        for profile in [TypeProfile::Portable, TypeProfile::Native] {
            let mut scan = test.whole("t").await;
            scan.type_profile = profile;
            let (batches, _) = read(&test, &scan).await.unwrap_or_else(|error| panic!("{sql_type}: {error}"));
            let found: Vec<Option<String>> =
                column(&batches, 1).iter().map(|value| value.as_str().map(str::to_owned)).collect();
            assert_eq!(found, want, "{sql_type} {profile:?}");
            let schema = batches[0].schema();
            assert_eq!(schema.field(1).metadata().get("srid").map(String::as_str), srid, "{sql_type} {profile:?}");
            let path = folder.path().join("t.parquet");
            write(&path, &batches);
            let said = python::run("geometry.py", [path.as_os_str(), "g".as_ref()]);
            let crs = if srid == Some("4326") { "\"OGC:CRS84\"" } else { "null" };
            assert_eq!(said.lines().next(), Some(format!("1.1.0 g WKB {crs}").as_str()), "{sql_type}");
        }
    }
}

#[tokio::test]
async fn what_a_file_does_not_hold_of_postgis_is_said() {
    const SYSTEMS: &str = "several reference systems";
    const COLLAPSED: &str = "rounding would make a ring collapse";
    let Some(mut test) = postgis("postgis_limits").await else { return };
    let (plain, rounded) = (ColumnOptions::default(), ColumnOptions { decimals: Some(1), ..ColumnOptions::default() });
    let null = |options| ColumnOptions { on_unrepresentable: OnUnrepresentable::Null, ..options };
    let text = |options| ColumnOptions { geometry: Some(GeometryForm::Text), ..options };
    let small = "POLYGON((0 0,0.004 0,0.004 0.004,0 0))";
    let (curve, surface) = ("CIRCULARSTRING(0 0,1 1,2 0)", "TIN(((0 0 0,0 0 1,0 1 0,0 0 0)))");
    for (values, options, want) in [
        (&["SRID=4326;POINT(1 2)", "SRID=3857;POINT(1 2)"][..], plain, Err(SYSTEMS)),
        (&["SRID=4326;POINT(1 2)", "SRID=3857;POINT(1 2)"], null(plain), Err(SYSTEMS)),
        (&["SRID=4326;POINT(1 2)", "POINT(1 2)"], text(plain), Err(SYSTEMS)),
        (&["POINT(1 2)", "SRID=4326;POINT(1 2)"], plain, Err(SYSTEMS)),
        (&[curve], plain, Err("")),
        (&[curve, surface, "POINT(1 2)"], null(text(plain)), Ok((json!([null, null, "POINT(1 2)"]), vec!["nulled"]))),
        (&[small], text(rounded), Ok((json!([small]), vec![COLLAPSED]))),
        (&[small], null(text(rounded)), Ok((json!([null]), vec![COLLAPSED]))),
        (&["POINT(1.25 -1.25)"], text(rounded), Ok((json!(["POINT(1.3 -1.3)"]), vec![]))),
    ] {
        test.run("DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint, g geometry)").await;
        for (id, value) in values.iter().enumerate() {
            test.run(format!("INSERT INTO t VALUES ({id}, '{value}')")).await;
        }
        let mut scan = test.whole("t").await;
        scan.options = [("g".to_owned(), options)].into();
        match (read(&test, &scan).await, want) {
            (Ok((batches, found)), Ok((wanted, said))) => {
                assert_eq!(Value::from(column(&batches, 1)), wanted, "{values:?} {options:?}");
                let found = counts(&found);
                let told = |word: &&str| found.iter().any(|(action, reason, _)| action == word || reason == word);
                assert!(said.iter().all(told) && said.is_empty() == found.is_empty(), "{values:?}: {found:?}");
            }
            (Err(error), Err(words)) => {
                assert_eq!(error.code(), ErrorCode::ValueUnrepresentable, "{values:?}: {error}");
                assert!(error.to_string().contains(words), "{values:?}: {error}");
            }
            (found, want) => panic!("{values:?} {options:?}: {found:?} instead of {want:?}"),
        }
    }
}
