//! Random tables of random types against PostgreSQL's own word: every cell that is exported must be what the server says
//! of it, whatever stands beside it.

use classification::rules::TypeProfile;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

use crate::support::values::{column, said};
use crate::support::warehouse::TestWarehouse;

/// Tables, columns of each at most, and rows of each.
const TABLES: usize = 25;
const COLUMNS: usize = 12;
const ROWS: usize = 40;

/// A type, a random value of it in SQL, and how the server says a value `v`.
struct Kind {
    sql_type: String,
    value: BoxedStrategy<String>,
    server: String,
    /// The same in the `native` profile.
    native: String,
}

fn kind<S: Strategy<Value = String> + 'static>(sql_type: &str, value: S, server: &str) -> Kind {
    let (sql_type, server) = (sql_type.to_owned(), server.to_owned());
    Kind { sql_type, value: value.boxed(), native: server.clone(), server }
}

fn native(kind: Kind, server: &str) -> Kind {
    Kind { native: server.to_owned(), ..kind }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Text of any characters that PostgreSQL holds.
fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| quoted(&text.replace('\0', "")))
}

fn kinds() -> Vec<Kind> {
    const MICROS: &str = "trunc(extract(epoch FROM v) * 1000000)::text";
    const RANGE: &str =
        "jsonb_build_object('lower', lower(v)::text, 'upper', upper(v)::text, 'lower_inc', lower_inc(v)::text,
        'upper_inc', upper_inc(v)::text, 'empty', isempty(v)::text)::text";
    // Microseconds that are far from every end.
    let moment = || -60_000_000_000_000_000_i64..250_000_000_000_000_000;
    let stamp = |zone: &'static str| {
        moment().prop_map(move |micros| format!("(timestamp{zone} 'epoch' + interval '1 microsecond' * {micros})"))
    };
    vec![
        kind("smallint", any::<i16>().prop_map(|n| format!("({n})")), "v::text"),
        kind("integer", any::<i32>().prop_map(|n| format!("({n})")), "v::text"),
        kind("bigint", any::<i64>().prop_map(|n| quoted(&n.to_string())), "v::text"),
        kind("real", any::<f32>().prop_map(|n| quoted(&n.to_string())), "v::text"),
        kind("double precision", any::<f64>().prop_map(|n| quoted(&n.to_string())), "v::text"),
        kind("boolean", any::<bool>().prop_map(|b| b.to_string()), "v::text"),
        kind("numeric", "-?[0-9]{1,60}([.][0-9]{1,60})?".prop_map(|n| quoted(&n)), "v::text"),
        kind("numeric(30,7)", "-?[0-9]{1,23}[.][0-9]{1,7}".prop_map(|n| quoted(&n)), "v::text"),
        kind("money", any::<i64>().prop_map(|n| format!("({n}::numeric / 100)::money")), "v::numeric::text"),
        kind("text", text(), "v::text"),
        kind("bytea", prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
            format!("'\\x{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }), "encode(v, 'hex')"),
        kind("timestamp with time zone", stamp("tz"), MICROS),
        kind("timestamp without time zone", stamp(""), MICROS),
        kind("date", (-700_000..2_900_000).prop_map(|days| format!("(date '1970-01-01' + ({days}))")), "(v - date '1970-01-01')::text"),
        native(kind("time", (0..86_400_000_000_i64).prop_map(|us| format!("(time '00:00' + interval '1 microsecond' * {us})")), "to_char(v, 'HH24:MI:SS.US')"),
            "trunc(extract(epoch FROM v) * 1000000)::text"),
        kind("interval", (-100_000..100_000, any::<i16>(), moment()).prop_map(|(months, days, us)| {
            format!("(make_interval(months => {months}, days => {days}) + interval '1 microsecond' * {us})")
        }), "jsonb_build_object('months', (extract(year FROM v) * 12 + extract(month FROM v))::text, 'days', extract(day FROM v)::text,
             'microseconds', (extract(hour FROM v)::numeric * 3600000000 + extract(minute FROM v)::numeric * 60000000
                              + extract(microseconds FROM v)::numeric)::numeric(40,0)::text)::text"),
        native(kind("uuid", any::<u128>().prop_map(|n| quoted(&format!("{n:032x}"))), "v::text"), "replace(v::text, '-', '')"),
        kind("jsonb", text().prop_map(|text| format!("jsonb_build_object('k', {text}::text)")), "v::text"),
        kind("inet", (any::<u32>(), 0_u8..=32).prop_map(|(ip, bits)| format!("set_masklen('0.0.0.0'::inet + {ip}, {bits})")), "inet_out(v)::text"),
        kind("inet", (any::<u128>(), any::<u128>(), 0_u8..=128).prop_map(|(ip, mask, bits)| {
            // Bits in groups, so that runs of zeros are frequent.
            let mask = (0..8).fold(0, |all, group| all | if mask >> group & 1 == 0 { 0 } else { 0xffff_u128 << (16 * group) });
            format!("'{}/{bits}'", std::net::Ipv6Addr::from_bits(ip & mask))
        }), "inet_out(v)::text"),
        kind("varbit", "[01]{0,70}".prop_map(|bits| format!("B'{bits}'")), "v::text"),
        kind("tsvector", prop::collection::vec(text(), 0..4).prop_map(|words| {
            format!("array_to_tsvector(array_remove(ARRAY[{}]::text[], ''))", words.join(","))
        }), "v::text"),
        kind("integer[]", prop::collection::vec(prop::option::of(any::<i32>()), 0..6).prop_map(|items| {
            let items: Vec<_> = items.into_iter().map(|item| item.map_or("NULL".to_owned(), |n| n.to_string())).collect();
            format!("ARRAY[{}]::int[]", items.join(","))
        }), "to_jsonb(v::text[])::text"),
        kind("text[]", prop::collection::vec(prop::option::of(text()), 0..5).prop_map(|items| {
            let items: Vec<_> = items.into_iter().map(|item| item.unwrap_or("NULL".to_owned())).collect();
            format!("ARRAY[{}]::text[]", items.join(","))
        }), "to_jsonb(v)::text"),
        kind("int8range", (any::<i32>(), 0..1000_i64, any::<[bool; 4]>()).prop_map(|(low, length, [a, b, c, d])| {
            let low = i64::from(low);
            let end = |there: bool, value: i64| if there { value.to_string() } else { String::new() };
            format!("'{}{},{}{}'", if a { '[' } else { '(' }, end(c, low), end(d, low + length), if b { ']' } else { ')' })
        }), RANGE),
        kind("oracle_pair", (prop::option::of(any::<i32>()), prop::option::of(text())).prop_map(|(a, b)| {
            format!("ROW({}, {})", a.map_or("NULL".to_owned(), |n| n.to_string()), b.unwrap_or("NULL".to_owned()))
        }), "jsonb_build_object('a', (v).a::text, 'b', (v).b)::text"),
        kind("public.hstore", prop::collection::vec((text(), prop::option::of(text())), 0..4).prop_map(|pairs| {
            let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("public.hstore({key}, {})", value.unwrap_or("NULL".to_owned()))).collect();
            if pairs.is_empty() { "''".to_owned() } else { pairs.join(" OPERATOR(public.||) ") }
        }), "public.hstore_to_jsonb(v)::text"),
    ]
}

#[tokio::test]
async fn random_tables_of_random_types_are_what_the_server_says() {
    let mut test = TestWarehouse::new("types_oracle").await;
    test.run("CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public; CREATE TYPE oracle_pair AS (a int, b text)").await;
    // The same tables in every run: a failure can be looked at again.
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let kinds = kinds();
    for table in 0..TABLES {
        let mut some = |strategy: &BoxedStrategy<String>| strategy.new_tree(&mut runner).unwrap().current();
        let place = (0..kinds.len()).prop_map(|place| place.to_string()).boxed();
        let chosen: Vec<&Kind> =
            (0..=table % COLUMNS).map(|_| &kinds[some(&place).parse::<usize>().unwrap()]).collect();
        let columns: Vec<_> = chosen.iter().enumerate().map(|(at, kind)| format!("c{at} {}", kind.sql_type)).collect();
        let seldom = (0..5).prop_map(|one: i32| one.to_string()).boxed();
        let mut rows = Vec::with_capacity(ROWS);
        for row in 0..ROWS {
            let mut values = vec![row.to_string()];
            for kind in &chosen {
                values.push(if some(&seldom) == "0" { "NULL".to_owned() } else { some(&kind.value) });
            }
            rows.push(format!("({})", values.join(", ")));
        }
        test.run(format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, {})", columns.join(", "))).await;
        for row in &rows {
            test.run(format!("INSERT INTO t VALUES {row}")).await;
        }
        let mut scan = test.whole("t").await;
        for profile in [TypeProfile::Portable, TypeProfile::Native] {
            scan.type_profile = profile;
            let batches = test.read(&scan).await.unwrap();
            for (at, kind) in chosen.iter().enumerate() {
                let server = if profile == TypeProfile::Native { &kind.native } else { &kind.server };
                let server = format!("CASE WHEN v::text IS NOT NULL THEN {server} END");
                let query = format!("SELECT {server} FROM (SELECT id, c{at} AS v FROM t) s ORDER BY s.id");
                let want = test.texts(query).await;
                let schema = batches[0].schema();
                let want = want.into_iter().map(|text| said(schema.field(at + 1).data_type(), text));
                let want: Vec<Value> = want.collect();
                let found = column(&batches, at + 1);
                assert_eq!(found, want, "table {table}, {} in {columns:?}, {profile:?}", kind.sql_type);
            }
        }
    }
}
