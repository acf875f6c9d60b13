//! Types that are no plain numbers, texts or moments: intervals, addresses, bit strings, money, places, arrays,
//! composites, ranges, maps. Values at the edges that PostgreSQL wrote itself, compared with the server's own text, in
//! both profiles, in memory and by readers that are not ours.

use std::path::Path;

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use classification::ColumnKind;
use classification::rules::TypeProfile;
use data_exporter::pipeline::encode::Encoder;
use data_exporter::pipeline::encode::parquet::{ParquetEncoder, ParquetOptions};
use serde_json::json;

use crate::support::python;
use crate::support::values::{column, said};
use crate::support::warehouse::TestWarehouse;

/// A type, what it is to a policy, values in SQL, and how the server writes a value `v` for comparison, in the
/// `native` profile too where that differs.
struct Family {
    sql_type: &'static str,
    kind: ColumnKind,
    manifest_type: &'static str,
    values: &'static [&'static str],
    server: &'static str,
    native: Option<(&'static str, &'static str)>,
}

const TEXT: &str = "v::text";
const TEXTS: &str = "character varying";
const NESTED: &str = "super";
const RANGE: &str =
    "jsonb_build_object('lower', lower(v)::text, 'upper', upper(v)::text, 'lower_inc', lower_inc(v)::text,
    'upper_inc', upper_inc(v)::text, 'empty', isempty(v)::text)::text";
const MULTIRANGE: &str =
    "(SELECT coalesce(jsonb_agg(jsonb_build_object('lower', lower(r)::text, 'upper', upper(r)::text,
    'lower_inc', lower_inc(r)::text, 'upper_inc', upper_inc(r)::text, 'empty', isempty(r)::text)), '[]')::text
    FROM unnest(v) r WHERE v IS NOT NULL)";
const ITEMS: &str = "to_jsonb(v::text[])::text";

const TYPES: &str = "
CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public;
CREATE TYPE pair AS (a integer, \"B b\" text);
CREATE TYPE deep AS (pair pair, at timestamptz, many pair[], price numeric(8,2), span int4range);
CREATE TYPE colour AS ENUM ('red', 'dark green');
CREATE DOMAIN tags AS text[];
CREATE DOMAIN small AS integer CHECK (VALUE < 100);
CREATE DOMAIN smaller AS small CHECK (VALUE < 10);
CREATE DOMAIN place AS pair;
CREATE DOMAIN cost AS money;
CREATE TYPE shed AS (gone integer, a integer, lost text, \"B b\" text);
ALTER TYPE shed DROP ATTRIBUTE gone, DROP ATTRIBUTE lost;
CREATE DOMAIN shelter AS shed;
CREATE DOMAIN refuge AS shelter";

#[rustfmt::skip]
fn families() -> Vec<Family> {
    use ColumnKind::{Number, Other, Text, Time, Uuid};
    let row = |sql_type, kind, manifest_type, values, server| Family { sql_type, kind, manifest_type, values, server, native: None };
    vec![
        row("interval", Time, NESTED, &["'0'", "'1 year 2 mons -3 days 04:05:06.789012'", "'-178000000 years'",
            "make_interval(secs => -9223372036854)", "'2147483647 days'", "'-1 mon 40 days -25:00:00.000001'"],
            "jsonb_build_object('months', (extract(year FROM v) * 12 + extract(month FROM v))::text, 'days', extract(day FROM v)::text,
             'microseconds', (extract(hour FROM v)::numeric * 3600000000 + extract(minute FROM v)::numeric * 60000000
                              + extract(microseconds FROM v)::numeric)::numeric(40,0)::text)::text"),
        row("interval day to second(3)", Time, NESTED, &["'1 day 00:00:01.2345'"],
            "jsonb_build_object('months', '0', 'days', '1', 'microseconds', '1235000')::text"),
        row("time with time zone", Time, TEXTS, &["'00:00:00+00'", "'23:59:59.999999-15:59:59'", "'24:00:00+15:59'",
            "'12:34:56.7+05:30'", "'12:00:00-03:00:01'"],
            "left(v::text, 8) || rpad(CASE WHEN v::text LIKE '%.%' THEN substring(v::text FROM '[.][0-9]+') ELSE '.' END, 7, '0')
             || substring(v::text FROM '[+-].*') || CASE WHEN substring(v::text FROM '[+-].*') LIKE '%:%' THEN '' ELSE ':00' END"),
        Family { native: Some(("time without time zone",
                "(extract(hour FROM v) * 3600000000 + extract(minute FROM v) * 60000000 + extract(microseconds FROM v))::bigint::text")),
            ..row("time without time zone", Time, TEXTS, &["'00:00:00'", "'23:59:59.999999'", "'12:34:56.7'"], "to_char(v, 'HH24:MI:SS.US')") },
        Family { native: Some(("binary varying", "replace(v::text, '-', '')")),
            ..row("uuid", Uuid, TEXTS, &["'00000000-0000-0000-0000-000000000000'", "'FFFFFFFF-0123-4567-89AB-CDEFABCDEF01'"], TEXT) },
        row("inet", Text, TEXTS, &["'192.0.2.1'", "'192.0.2.1/24'", "'0.0.0.0/0'", "'255.255.255.255/32'", "'::'", "'::1'",
            "'2001:db8::1/64'", "'::ffff:192.0.2.1'", "'::192.0.2.1'", "'::0.1.2.3'", "'::1.2.3.4/96'", "'1:0:0:2::'",
            "'2001:db8:0:1:1:1:1:1'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'", "'fe80:0:0:1::'", "'0:0:0:0:1::/100'"],
            "inet_out(v)::text"),
        row("cidr", Text, TEXTS, &["'10/8'", "'192.0.2.1/32'", "'0/0'", "'2001:db8::/32'", "'::/0'", "'::ffff:0:0/96'", "'::1/128'"], TEXT),
        row("macaddr", Text, TEXTS, &["'08:00:2B:01:02:03'", "'00:00:00:00:00:00'", "'ff:ff:ff:ff:ff:ff'"], TEXT),
        row("macaddr8", Text, TEXTS, &["'08:00:2b:01:02:03:04:05'", "'08:00:2b:01:02:03'"], TEXT),
        row("bit(3)", Text, TEXTS, &["'101'", "'000'"], TEXT),
        row("bit varying", Text, TEXTS, &["''", "'1'", "'00000001'", "'111111110'", "repeat('10', 5000)::varbit"], TEXT),
        row("money", Number, "numeric(19,2)", &["'0'", "'-0.01'", "'92233720368547758.07'", "'-92233720368547758.08'"], "v::numeric::text"),
        row("cost", Number, "numeric(19,2)", &["'12.34'"], "v::money::numeric::text"),
        row("tsvector", Text, TEXTS, &["''", "'a fat cat'", "$$'it''s' 'back\\\\slash' ' spaced '$$",
            "'a:1A,2B,3C,4D b:16383'::tsvector", "array_to_tsvector(ARRAY['ü', '🚗', E'line\\nbreak'])"], TEXT),
        row("tsquery", Text, TEXTS, &["''", "'a & !b | c <-> d:*A'", "'''it''''s'''"], TEXT),
        row("jsonpath", Text, TEXTS, &["'$'", "'strict $.a[*] ? (@.b > 1)'"], TEXT),
        row("\"char\"", Text, TEXTS, &["'a'", "' '", "''", "'\\'"], TEXT),
        row("xid", Number, "bigint", &["'0'", "'4294967295'"], TEXT),
        row("cid", Number, "bigint", &["'0'", "'4294967295'"], TEXT),
        row("xid8", Text, TEXTS, &["'0'", "'18446744073709551615'"], TEXT),
        row("tid", Text, TEXTS, &["'(0,0)'", "'(4294967295,65535)'"], TEXT),
        row("pg_lsn", Text, TEXTS, &["'0/0'", "'FFFFFFFF/FFFFFFFF'", "'16/B374D848'"], TEXT),
        row("pg_snapshot", Text, TEXTS, &["'10:20:10,14,15'", "'1:1:'"], TEXT),
        row("regclass", Text, TEXTS, &["'pg_catalog.pg_class'", "0", "4294967295"], TEXT),
        row("regtype", Text, TEXTS, &["'integer'", "'timestamptz[]'"], TEXT),
        row("regprocedure", Text, TEXTS, &["'pg_catalog.now()'"], TEXT),
        row("integer[]", Other, NESTED, &["'{}'", "'{1,NULL,-2147483648}'", "'{NULL}'", "array_fill(7, ARRAY[5000])"], ITEMS),
        row("text[]", Other, NESTED, &["'{}'", "ARRAY['', 'NULL', NULL, 'a,b', '\"{', 'ü']"], ITEMS),
        row("tags", Other, NESTED, &["'{x,NULL}'"], "to_jsonb(v::text[])::text"),
        row("smaller[]", Other, NESTED, &["'{1,9}'"], "to_jsonb(v::int[]::text[])::text"),
        row("smaller", Number, "integer", &["1", "-5"], TEXT),
        row("double precision[]", Other, NESTED, &["'{0,-0,NaN,Infinity,1e-300,NULL}'"], ITEMS),
        row("numeric(6,2)[]", Other, NESTED, &["'{1.5,NULL,-9999.99}'"], ITEMS),
        row("numeric[]", Other, NESTED, &["'{1.50,1e40,0.001}'"], ITEMS),
        row("boolean[]", Other, NESTED, &["'{t,f,NULL}'"], ITEMS),
        row("colour[]", Other, NESTED, &["'{red,\"dark green\",NULL}'"], ITEMS),
        row("regtype[]", Other, NESTED, &["'{integer,text}'"], ITEMS),
        row("inet[]", Other, NESTED, &["'{192.0.2.1/24,::1}'"], "to_jsonb(string_to_array(trim(both '{}' FROM v::text), ','))::text"),
        Family { native: Some((NESTED, "replace(to_jsonb(v::text[])::text, '-', '')")),
            ..row("uuid[]", Other, NESTED, &["'{00000000-0000-0000-0000-000000000001,NULL}'"], ITEMS) },
        row("timestamptz[]", Other, NESTED, &["'{2024-02-29 12:34:56.789012+00,NULL,1970-01-01 00:00+00}'", "'{}'"],
            "(SELECT coalesce(jsonb_agg(trunc(extract(epoch FROM x) * 1000000)::text ORDER BY o), '[]')::text
              FROM unnest(v) WITH ORDINALITY u (x, o) WHERE v IS NOT NULL)"),
        row("int2vector", Other, NESTED, &["'1 2 -3'", "''"], "to_jsonb(string_to_array(v::text, ' '))::text"),
        row("oidvector", Other, NESTED, &["'4294967295 1'"], "to_jsonb(string_to_array(v::text, ' '))::text"),
        row("pair", Other, NESTED, &["(1, 'x')", "(NULL, '')", "(-1, '\"(,')"],
            "CASE WHEN v IS NOT DISTINCT FROM NULL THEN NULL ELSE jsonb_build_object('a', (v).a::text, 'B b', (v).\"B b\") END::text"),
        row("place", Other, NESTED, &["(1, 'x')"],
            "CASE WHEN v IS NOT DISTINCT FROM NULL THEN NULL ELSE jsonb_build_object('a', (v).a::text, 'B b', (v).\"B b\") END::text"),
        row("shed", Other, NESTED, &["(1, 'x')", "(NULL, '')"],
            "CASE WHEN v IS NOT DISTINCT FROM NULL THEN NULL ELSE jsonb_build_object('a', (v).a::text, 'B b', (v).\"B b\") END::text"),
        row("refuge", Other, NESTED, &["(1, 'x')"],
            "CASE WHEN v IS NOT DISTINCT FROM NULL THEN NULL ELSE jsonb_build_object('a', (v).a::text, 'B b', (v).\"B b\") END::text"),
        row("shed[]", Other, NESTED, &["ARRAY[(7, 'x'), (8, NULL)]::shed[]", "'{}'"],
            "(SELECT coalesce(jsonb_agg(jsonb_build_object('a', (v[o]).a::text, 'B b', (v[o]).\"B b\") ORDER BY o), '[]')::text
              FROM generate_series(1, cardinality(v)) o WHERE v IS NOT NULL)"),
        row("money[]", Other, NESTED, &["'{-92233720368547758.08,NULL,0.01}'"], "to_jsonb(v::numeric[]::text[])::text"),
        row("bit varying[]", Other, NESTED, &["'{101,NULL,\"\",00000001}'"], ITEMS),
        row("int4range[]", Other, NESTED, &["'{\"[1,5)\",empty,\"(,)\",\"[-2147483648,)\"}'", "'{}'"], MULTIRANGE),
        row("pair[]", Other, NESTED, &["ARRAY[(1, 'x'), NULL, (NULL, NULL)]::pair[]", "'{}'"],
            "(SELECT coalesce(jsonb_agg(CASE WHEN x IS NOT DISTINCT FROM NULL THEN NULL ELSE jsonb_build_object('a', (x).a::text, 'B b', (x).\"B b\") END ORDER BY o), '[]')::text
              FROM unnest(v) WITH ORDINALITY u (a, b, o) CROSS JOIN LATERAL (SELECT v[o] AS x) w WHERE v IS NOT NULL)"),
        row("deep", Other, NESTED, &["((1, 'x'), '2024-01-01 00:00+00', ARRAY[(2, 'y')]::pair[], 1.5, '[1,5)')", "(NULL, NULL, NULL, NULL, NULL)",
             "((NULL, NULL), NULL, '{}', -0.01, 'empty')"],
            "CASE WHEN v IS NOT DISTINCT FROM NULL THEN NULL ELSE jsonb_build_object(
               'pair', CASE WHEN (v).pair IS NOT DISTINCT FROM NULL THEN NULL ELSE jsonb_build_object('a', ((v).pair).a::text, 'B b', ((v).pair).\"B b\") END,
               'at', trunc(extract(epoch FROM (v).at) * 1000000)::text,
               'many', (SELECT coalesce(jsonb_agg(jsonb_build_object('a', a::text, 'B b', b)), '[]') FROM unnest((v).many) u (a, b) WHERE (v).many IS NOT NULL HAVING (v).many IS NOT NULL),
               'price', (v).price::text,
               'span', CASE WHEN (v).span IS NULL THEN NULL ELSE jsonb_build_object('lower', lower((v).span)::text, 'upper', upper((v).span)::text,
                   'lower_inc', lower_inc((v).span)::text, 'upper_inc', upper_inc((v).span)::text, 'empty', isempty((v).span)::text) END) END::text"),
        row("int4range", Other, NESTED, &["'[1,5)'", "'empty'", "'(,)'", "'[1,)'", "'(,1)'", "'[-2147483648,2147483647)'"], RANGE),
        row("numrange", Other, NESTED, &["'[1.10,2.0]'", "'(1,2)'", "'(1.5,]'"], RANGE),
        row("tstzrange", Other, NESTED, &["'[2024-01-01 00:00+00,2024-01-02 00:00+00)'", "'empty'"],
            "jsonb_build_object('lower', trunc(extract(epoch FROM lower(v)) * 1000000)::text, 'upper', trunc(extract(epoch FROM upper(v)) * 1000000)::text,
             'lower_inc', lower_inc(v)::text, 'upper_inc', upper_inc(v)::text, 'empty', isempty(v)::text)::text"),
        row("int4multirange", Other, NESTED, &["'{}'", "'{[1,2),[5,9)}'", "'{(,)}'"], MULTIRANGE),
        row("nummultirange", Other, NESTED, &["'{[1.5,1.6],(3,]}'"], MULTIRANGE),
        row("public.hstore", Other, NESTED, &["''", "'a=>1, b=>NULL, \"ü \\\" k\"=>\"\"'"], "public.hstore_to_jsonb(v)::text"),
    ]
}

/// The server's expression where `v` is there, since some of them make something of NULL.
fn expression(server: &str) -> String {
    format!("CASE WHEN v::text IS NOT NULL THEN {server} END")
}

#[tokio::test]
async fn every_value_is_what_the_server_says_in_both_profiles() {
    let mut test = TestWarehouse::new("types_more").await;
    test.run(TYPES).await;
    for family in families() {
        let Family { sql_type, kind, manifest_type, values, server, native } = family;
        test.run("DROP TABLE IF EXISTS t").await;
        test.run(format!("CREATE TABLE t (id int, v {sql_type})")).await;
        for (id, value) in ["NULL"].iter().chain(values).chain(&["NULL", "NULL"]).chain(values).enumerate() {
            test.run(format!("INSERT INTO t VALUES ({id}, {value})")).await;
        }
        let shape = test.shape("t").await;
        let found = &shape.columns[1];
        assert_eq!((found.catalog.kind, found.manifest_type.as_deref()), (kind, Some(manifest_type)), "{sql_type}");
        let (native_type, native_server) = native.unwrap_or((manifest_type, server));
        assert_eq!(found.native_manifest_type.as_deref(), Some(native_type), "{sql_type}");
        for (profile, server) in [(TypeProfile::Portable, server), (TypeProfile::Native, native_server)] {
            let mut scan = test.whole("t").await;
            scan.type_profile = profile;
            let batches = test.read(&scan).await.unwrap_or_else(|error| panic!("{sql_type}: {error}"));
            let schema = batches[0].schema();
            let want = test.texts(format!("SELECT {} FROM t ORDER BY id", expression(server))).await;
            let want: Vec<_> = want.into_iter().map(|text| said(schema.field(1).data_type(), text)).collect();
            assert_eq!(column(&batches, 1), want, "{sql_type} {profile:?}");
        }
    }
}

/// Writes a Parquet file of small groups.
pub(crate) fn write(path: &Path, batches: &[RecordBatch]) {
    let options = ParquetOptions { row_group_rows: 70, ..ParquetOptions::default() };
    let mut encoder = Box::new(ParquetEncoder::new(batches[0].schema(), options).unwrap());
    let mut file = Vec::new();
    for batch in batches {
        encoder.write(batch).unwrap();
        file.extend(encoder.drain().concat());
    }
    file.extend(encoder.finish().unwrap().bytes.concat());
    std::fs::write(path, file).unwrap();
}

#[tokio::test]
async fn other_readers_see_the_same_in_files_of_both_profiles() {
    let mut test = TestWarehouse::new("types_more_readers").await;
    test.run(TYPES).await;
    let families = families();
    let list: Vec<_> = families.iter().enumerate().map(|(at, family)| format!("c{at} {}", family.sql_type)).collect();
    test.run(format!("CREATE TABLE wide (id bigint, {})", list.join(", "))).await;
    // Each column goes round its values and a NULL at its own pace.
    for row in 0..200 {
        let value = |family: &Family| *family.values.get(row % (family.values.len() + 1)).unwrap_or(&"NULL");
        let values: Vec<_> = families.iter().map(value).collect();
        test.run(format!("INSERT INTO wide VALUES ({row}, {})", values.join(", "))).await;
    }
    let folder = tempfile::tempdir().unwrap();
    for profile in [TypeProfile::Portable, TypeProfile::Native] {
        let mut scan = test.whole("wide").await;
        scan.type_profile = profile;
        let batches = test.read(&scan).await.unwrap();
        let mut columns = vec![json!({"name": "id", "values": (0..200).map(|id| id.to_string()).collect::<Vec<_>>()})];
        for (at, family) in families.iter().enumerate() {
            let server = match (profile, family.native) {
                (TypeProfile::Native, Some((_, server))) => server,
                _ => family.server,
            };
            let query = format!("SELECT {} FROM (SELECT id, c{at} AS v FROM wide) t ORDER BY t.id", expression(server));
            let schema = batches[0].schema();
            let values = test.texts(query).await.into_iter().map(|text| said(schema.field(at + 1).data_type(), text));
            columns.push(json!({"name": format!("c{at}"), "values": values.collect::<Vec<_>>()}));
        }
        let expected = folder.path().join("expected.json");
        std::fs::write(&expected, json!({ "columns": columns }).to_string()).unwrap();
        let path = folder.path().join(format!("{profile:?}.parquet"));
        write(&path, &batches);
        let said = python::compare_types(&format!("{profile:?}_more").to_lowercase(), &path, &expected);
        assert_eq!(said.trim(), format!("equal: {} columns, 200 rows", families.len() + 1));
    }
}

#[tokio::test]
async fn a_file_says_what_its_types_mean() {
    let mut test = TestWarehouse::new("types_more_logical").await;
    test.run("CREATE TABLE t (id bigint, u uuid, c time, j json, a uuid[]); INSERT INTO t VALUES (1)").await;
    let folder = tempfile::tempdir().unwrap();
    for (profile, want) in [
        (TypeProfile::Portable, ["String", "String", "JSON", "String"]),
        (TypeProfile::Native, ["UUID", "Time(isAdjustedToUTC=false, timeUnit=microseconds)", "JSON", "UUID"]),
    ] {
        let mut scan = test.whole("t").await;
        scan.type_profile = profile;
        let batches = test.read(&scan).await.unwrap();
        assert_eq!(batches[0].schema().field(1).data_type() == &DataType::Utf8, profile == TypeProfile::Portable);
        let path = folder.path().join("t.parquet");
        write(&path, &batches);
        let said = python::run("logical_types.py", [&path]);
        assert_eq!(said.lines().skip(1).collect::<Vec<_>>(), want, "{profile:?}");
    }
}
