//! The table of types in docs/types.md is what the program does.

use arrow::datatypes::{DataType, Fields, TimeUnit};
use classification::rules::TypeProfile;
use data_exporter::warehouse::Warehouse;

use crate::support::warehouse::{TestWarehouse, context};

/// The types of the table, in its order.
const TYPES: &[&str] = &[
    "smallint",
    "integer",
    "bigint",
    "oid",
    "xid",
    "cid",
    "real",
    "double precision",
    "boolean",
    "numeric(12,2)",
    "numeric(5,-2)",
    "numeric",
    "numeric(50,10)",
    "money",
    "text",
    "character varying(20)",
    "character(3)",
    "name",
    "xml",
    "\"char\"",
    "json",
    "jsonb",
    "jsonpath",
    "uuid",
    "bytea",
    "timestamp with time zone",
    "timestamp without time zone",
    "date",
    "time without time zone",
    "time with time zone",
    "interval",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "bit(8)",
    "bit varying",
    "tsvector",
    "tsquery",
    "pg_lsn",
    "xid8",
    "tid",
    "pg_snapshot",
    "txid_snapshot",
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "integer[]",
    "uuid[]",
    "int2vector",
    "oidvector",
    "int4range",
    "numrange",
    "daterange",
    "tstzrange",
    "int4multirange",
    "public.hstore",
    "docs_enum",
    "docs_domain",
    "docs_pair",
    "docs_pair[]",
    "point",
    "box",
    "path",
    "aclitem",
];

/// An Arrow type in few words.
fn words(data_type: &DataType) -> String {
    let fields = |fields: &Fields| {
        fields
            .iter()
            .map(|field| format!("{}: {}", field.name(), words(field.data_type())))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match data_type {
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            format!("timestamp µs{}", if zone.is_some() { " UTC" } else { "" })
        }
        DataType::Time64(TimeUnit::Microsecond) => "time µs".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::FixedSizeBinary(width) => format!("{width} bytes"),
        DataType::List(item) => format!("list<{}>", words(item.data_type())),
        DataType::Struct(parts) => format!("struct<{}>", fields(parts)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => format!("map<{}, {}>", words(pair[0].data_type()), words(pair[1].data_type())),
            other => words(other),
        },
        plain => plain.to_string().to_lowercase(),
    }
}

#[tokio::test]
async fn the_table_of_types_is_true() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/types.md")).unwrap();
    let table = docs.lines().skip_while(|line| !line.starts_with("| PostgreSQL")).skip(2);
    let said: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
    let mut test = TestWarehouse::new("types_docs").await;
    test.run(
        "CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public; CREATE TYPE docs_enum AS ENUM ('a');
         CREATE DOMAIN docs_domain AS integer; CREATE TYPE docs_pair AS (a integer, b text)",
    )
    .await;
    let mut want = Vec::new();
    for sql_type in TYPES {
        test.run(format!("DROP TABLE IF EXISTS t; CREATE TABLE t (v {sql_type})")).await;
        let kind = format!("{:?}", test.shape("t").await.columns[0].catalog.kind).to_lowercase();
        let mut cells = Vec::new();
        for profile in [TypeProfile::Portable, TypeProfile::Native] {
            let mut scan = test.whole("t").await;
            scan.type_profile = profile;
            cells.push(match test.warehouse.scan(&scan, &context("data-exporter test")).await {
                Ok(stream) => words(stream.schema().field(0).data_type()),
                Err(_) => "refused".to_owned(),
            });
        }
        let native = if cells[0] == cells[1] { "the same" } else { &cells[1] };
        want.push(format!("| `{sql_type}` | {kind} | {} | {native} |", cells[0]));
    }
    let said_rows = said.join("\n");
    assert!(said == want, "docs/types.md has\n{said_rows}\nand the program does\n{}", want.join("\n"));
}
