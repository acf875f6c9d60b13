//! Every type that can be exported, with values at its edges that PostgreSQL wrote itself, compared with the server's
//! own text; and every value that a file cannot hold.

use arrow::datatypes::{DataType, TimeUnit};
use classification::ColumnKind;
use classification::rules::TypeProfile;
use data_exporter::error::ErrorCode;
use data_exporter::pipeline::encode::Encoder;
use data_exporter::pipeline::encode::parquet::{ParquetCompression, ParquetEncoder, ParquetOptions};
use data_exporter::warehouse::{ScanSpec, Warehouse};
use serde_json::json;

use crate::support::python;
use crate::support::values::{column, said};
use crate::support::warehouse::TestWarehouse;

/// A type, its Arrow type, values in SQL, and how the server writes a value `v` for comparison.
struct Family {
    sql_type: &'static str,
    data_type: DataType,
    manifest_type: &'static str,
    values: &'static [&'static str],
    server: &'static str,
}

fn families() -> Vec<Family> {
    const TEXT: &str = "v::text";
    const MICROS: &str = "trunc(extract(epoch FROM v) * 1000000)::text";
    const CLOCK: &str = "to_char(v, 'HH24:MI:SS.US')";
    const TEXTS: &[&str] =
        &["''", "'a'", "'ünïcödé 🚗 \\ '' \" ,'", "E'line\\nbreak\\ttab\\rcr'", "repeat('x', 100000)"];
    let zoned = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let plain = || DataType::Timestamp(TimeUnit::Microsecond, None);
    let row = |sql_type, data_type, manifest_type, values, server| Family {
        sql_type,
        data_type,
        manifest_type,
        values,
        server,
    };
    vec![
        row("smallint", DataType::Int16, "smallint", &["0", "-1", "32767", "-32768"], TEXT),
        row("integer", DataType::Int32, "integer", &["0", "-1", "2147483647", "-2147483648"], TEXT),
        row("bigint", DataType::Int64, "bigint", &["0", "9223372036854775807", "-9223372036854775808"], TEXT),
        row("oid", DataType::Int64, "bigint", &["0", "4294967295", "2147483648"], TEXT),
        row(
            "real",
            DataType::Float32,
            "real",
            &["0", "'-0'", "0.1", "3.4028235e38", "1e-45", "'NaN'", "'Infinity'", "'-Infinity'"],
            TEXT,
        ),
        row(
            "double precision",
            DataType::Float64,
            "double precision",
            &["0", "'-0'", "0.1", "1.7976931348623157e308", "5e-324", "'NaN'", "'Infinity'", "'-Infinity'"],
            TEXT,
        ),
        row("boolean", DataType::Boolean, "boolean", &["true", "false"], TEXT),
        row(
            "numeric(15,2)",
            DataType::Decimal128(15, 2),
            "numeric(15,2)",
            &[
                "0",
                "0.01",
                "-0.01",
                "1",
                "100",
                "9999.99",
                "10000",
                "10000.01",
                "9999999999999.99",
                "-9999999999999.99",
            ],
            TEXT,
        ),
        row(
            "numeric(38,0)",
            DataType::Decimal128(38, 0),
            "numeric(38,0)",
            &["0", "repeat('9', 38)::numeric", "-repeat('9', 38)::numeric", "1e37", "10000000000000000"],
            TEXT,
        ),
        row(
            "numeric(38,38)",
            DataType::Decimal128(38, 38),
            "numeric(38,38)",
            &["0", "('0.' || repeat('9', 38))::numeric", "1e-38", "-1e-38", "0.1"],
            TEXT,
        ),
        row(
            "numeric(38,1)",
            DataType::Decimal128(38, 1),
            "numeric(38,1)",
            &["(repeat('9', 37) || '.9')::numeric", "-(repeat('9', 37) || '.9')::numeric", "0.1", "1e36"],
            TEXT,
        ),
        row("numeric(5,-2)", DataType::Decimal128(7, 0), "numeric(7,0)", &["1234567", "9999900", "-100", "0"], TEXT),
        row("numeric(3,5)", DataType::Decimal128(5, 5), "numeric(5,5)", &["0.00999", "-0.00001", "0"], TEXT),
        row(
            "numeric",
            DataType::Utf8,
            "character varying",
            &[
                "0",
                "0.00",
                "1.50",
                "-1.50",
                "1e100",
                "1e-100",
                "123456789012345678901234567890.123456789",
                "10000",
                "0.0001",
                "0.00010",
                "1234.5678",
                "-0.5",
                "repeat('9', 1000)::numeric",
                "1e-1000",
                "12340000.00001",
            ],
            TEXT,
        ),
        row("numeric(39,2)", DataType::Utf8, "character varying", &["(repeat('9', 37) || '.99')::numeric", "0"], TEXT),
        row("text", DataType::Utf8, "character varying", TEXTS, TEXT),
        row("character varying(5)", DataType::Utf8, "character varying", &["''", "'abcde'", "'üüüüü'"], TEXT),
        // char(n) is padded; casting to text would take the padding away.
        row("character(5)", DataType::Utf8, "character varying", &["''", "'ab'", "'üü'"], "rpad(v::text, 5)"),
        row("name", DataType::Utf8, "character varying", &["'x'", "repeat('n', 63)"], TEXT),
        row("xml", DataType::Utf8, "character varying", &["'<a b=\"1\">ü</a>'", "'text'"], TEXT),
        row("colour", DataType::Utf8, "character varying", &["'red'", "'dark green'", "'it''s \"blue\"'"], TEXT),
        row("email", DataType::Utf8, "character varying", &["'a@example.com'"], TEXT),
        row("strict_email", DataType::Utf8, "character varying", &["'a@example.com'"], TEXT),
        row("price", DataType::Decimal128(10, 3), "numeric(10,3)", &["1.234", "-9999999.999"], TEXT),
        row(
            "timestamp with time zone",
            zoned(),
            "timestamp with time zone",
            &[
                "'1970-01-01 00:00:00+00'",
                "'2000-01-01 00:00:00+00'",
                "'1969-12-31 23:59:59.999999+00'",
                "'2024-03-31 02:30:00+02'",
                "'9999-12-31 23:59:59.999999+00'",
                "'4713-01-01 00:00:00+00 BC'",
                "'294246-12-31 23:59:59.999999+00'",
            ],
            MICROS,
        ),
        row(
            "timestamp without time zone",
            plain(),
            "timestamp without time zone",
            &[
                "'1970-01-01 00:00:00'",
                "'2024-02-29 12:34:56.789012'",
                "'0001-01-01 00:00:00'",
                "'4713-01-01 00:00:00 BC'",
            ],
            MICROS,
        ),
        row(
            "timestamp(3) with time zone",
            zoned(),
            "timestamp with time zone",
            &["'2024-02-29 12:34:56.789012+00'"],
            MICROS,
        ),
        row(
            "date",
            DataType::Date32,
            "date",
            &["'1970-01-01'", "'2000-01-01'", "'1969-12-31'", "'2024-02-29'", "'4713-01-01 BC'", "'5874897-12-31'"],
            "(v - date '1970-01-01')::text",
        ),
        row(
            "time without time zone",
            DataType::Utf8,
            "character varying",
            &["'00:00:00'", "'23:59:59.999999'", "'12:34:56.7'", "'24:00:00'"],
            // to_char writes the end of the day as its beginning.
            "CASE v WHEN '24:00' THEN '24:00:00.000000' ELSE to_char(v, 'HH24:MI:SS.US') END",
        ),
        row("time(3) without time zone", DataType::Utf8, "character varying", &["'12:34:56.789012'"], CLOCK),
        row(
            "uuid",
            DataType::Utf8,
            "character varying",
            &["'00000000-0000-0000-0000-000000000000'", "'FFFFFFFF-0123-4567-89AB-CDEFABCDEF01'"],
            TEXT,
        ),
        row("json", DataType::Utf8, "character varying", &["'{\"a\" : [1, 2.50]}'", "'null'", "' \"ü\" '"], TEXT),
        row(
            "jsonb",
            DataType::Utf8,
            "character varying",
            &["'{\"b\": 1, \"a\": [1, 2.50]}'", "'null'", "'\"ü\"'"],
            TEXT,
        ),
        row(
            "bytea",
            DataType::Binary,
            "binary varying",
            &["''", "'\\x00ff275c'", "decode(repeat('ab', 70000), 'hex')"],
            "encode(v, 'hex')",
        ),
    ]
}

const TYPES: &str = "
CREATE TYPE colour AS ENUM ('red', 'dark green', 'it''s \"blue\"');
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
CREATE DOMAIN strict_email AS email NOT NULL;
CREATE DOMAIN price AS numeric(10,3)";

#[tokio::test]
async fn every_value_is_what_the_server_says() {
    let mut test = TestWarehouse::new("extract_types").await;
    test.run(TYPES).await;
    for family in families() {
        let Family { sql_type, data_type, manifest_type, values, server } = family;
        test.run("DROP TABLE IF EXISTS t").await;
        test.run(format!("CREATE TABLE t (id int, v {sql_type})")).await;
        // A NULL first, between values, and last; in a domain that has none, the column stays without.
        let null = if sql_type == "strict_email" { values[0] } else { "NULL" };
        for (id, value) in [null].iter().chain(values).chain(&[null, null]).chain(values).chain(&[null]).enumerate() {
            test.run(format!("INSERT INTO t VALUES ({id}, {value})")).await;
        }
        let shape = test.shape("t").await;
        assert_eq!(shape.columns[1].manifest_type.as_deref(), Some(manifest_type), "{sql_type}");
        let want: Vec<_> = test.texts(format!("SELECT {server} FROM t ORDER BY id")).await;
        let want: Vec<_> = want.into_iter().map(|text| said(&data_type, text)).collect();
        let batches = test.read(&test.whole("t").await).await.unwrap();
        assert_eq!(batches[0].schema().field(1).data_type(), &data_type, "{sql_type}");
        let got = column(&batches, 1);
        assert_eq!(got, want, "{sql_type}");
    }
}

#[tokio::test]
async fn other_readers_see_the_same_in_the_file() {
    let mut test = TestWarehouse::new("extract_readers").await;
    test.run(TYPES).await;
    let families = families();
    let list: Vec<_> = families.iter().enumerate().map(|(at, family)| format!("c{at} {}", family.sql_type)).collect();
    test.run(format!("CREATE TABLE wide (id bigint, {})", list.join(", "))).await;
    // Each column goes round its values and a NULL at its own pace.
    for row in 0..40 {
        let values: Vec<_> = families
            .iter()
            .map(|family| match family.values.get(row % (family.values.len() + 1)) {
                None if family.sql_type != "strict_email" => "NULL",
                value => value.unwrap_or(&family.values[0]),
            })
            .collect();
        test.run(format!("INSERT INTO wide VALUES ({row}, {})", values.join(", "))).await;
    }
    test.run(
        "CREATE TABLE many AS SELECT w.* FROM wide w, generate_series(1, 12) g; UPDATE many SET id = r FROM
        (SELECT ctid AS c, row_number() OVER () AS r FROM many) n WHERE ctid = c",
    )
    .await;

    let mut columns =
        vec![json!({"name": "id", "values": test.texts("SELECT id::text FROM many ORDER BY many.id").await})];
    for (at, family) in families.iter().enumerate() {
        let query = format!("SELECT {} FROM (SELECT id, c{at} AS v FROM many) t ORDER BY t.id", family.server);
        let values = test.texts(query).await.into_iter().map(|text| said(&family.data_type, text));
        columns.push(json!({"name": format!("c{at}"), "values": values.collect::<Vec<_>>()}));
    }
    let folder = tempfile::tempdir().unwrap();
    let expected = folder.path().join("expected.json");
    std::fs::write(&expected, json!({ "columns": columns }).to_string()).unwrap();

    let batches = test.read(&test.whole("many").await).await.unwrap();
    for compression in [ParquetCompression::Zstd, ParquetCompression::Snappy] {
        // Small groups, so that there are several.
        let options = ParquetOptions { compression, row_group_rows: 140, ..ParquetOptions::default() };
        let mut encoder = Box::new(ParquetEncoder::new(batches[0].schema(), options).unwrap());
        let mut file = Vec::new();
        for batch in &batches {
            encoder.write(batch).unwrap();
            file.extend(encoder.drain().concat());
        }
        file.extend(encoder.finish().unwrap().bytes.concat());
        let path = folder.path().join(format!("{compression:?}.parquet"));
        std::fs::write(&path, file).unwrap();
        let said = python::compare_types(&format!("plain_{compression:?}").to_lowercase(), &path, &expected);
        assert_eq!(said.trim(), format!("equal: {} columns, 480 rows", families.len() + 1));
    }
}

#[tokio::test]
async fn a_value_that_no_file_holds_is_an_error_that_names_it() {
    let mut test = TestWarehouse::new("extract_unrepresentable").await;
    for (sql_type, value) in [
        ("timestamptz", "infinity"),
        ("timestamptz", "-infinity"),
        ("timestamp", "infinity"),
        ("timestamp", "-infinity"),
        ("timestamptz", "294276-12-31 23:59:59+00"),
        ("date", "infinity"),
        ("date", "-infinity"),
        ("numeric(10,2)", "NaN"),
        ("numeric", "NaN"),
        ("numeric", "Infinity"),
        ("numeric", "-Infinity"),
        ("time", "24:00:00"),
        ("int[]", "{{1,2},{3,4}}"),
        ("int[]", "[0:1]={1,2}"),
        ("date[]", "{2026-03-02,infinity}"),
        ("daterange", "[2026-03-02,infinity)"),
    ] {
        test.run(format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, odd {sql_type}); INSERT INTO t VALUES (1, '{value}')"
        ))
        .await;
        let scan = ScanSpec { type_profile: TypeProfile::Native, ..test.whole("t").await };
        let error = test.read(&scan).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ValueUnrepresentable, "{sql_type} {value}: {error}");
        let message = error.to_string();
        assert!(message.contains("'odd' of 'extract_unrepresentable.t'"), "{message}");
        assert!(!message.contains("294276"), "{message}");
    }
}

#[tokio::test]
async fn any_other_type_is_refused_before_a_byte_moves() {
    let mut test = TestWarehouse::new("extract_unsupported").await;
    test.run(
        "CREATE TYPE nothing AS (); CREATE TYPE spot AS (name text, at point); CREATE DOMAIN boxes AS box;
         CREATE TYPE found AS (query tsquery)",
    )
    .await;
    for (sql_type, structure) in [
        ("point", ""),
        ("box", ""),
        ("circle[]", ""),
        ("aclitem", ""),
        ("extract_unsupported.nothing", " ()"),
        ("extract_unsupported.spot", " (name text, at point)"),
        ("extract_unsupported.found", " (query tsquery)"),
        ("extract_unsupported.boxes", ""),
    ] {
        test.run(format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, odd {sql_type})")).await;
        let shape = test.shape("t").await;
        assert_eq!(shape.columns[1].manifest_type, None, "{sql_type}");
        assert_eq!(shape.columns[1].catalog.sql_type, format!("{sql_type}{structure}"));
        assert_eq!(shape.columns[1].catalog.kind, ColumnKind::Other, "{sql_type}");
        let error = test.read(&test.whole("t").await).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::TypeUnsupported, "{sql_type}: {error}");
        let message = error.to_string();
        assert!(message.contains(&format!("'odd' of 'extract_unsupported.t' has type {sql_type}")), "{message}");
        assert!(test.warehouse.estimate(&test.whole("t").await).await.is_err(), "{sql_type}");
    }
}
