//! Random tables of random types: what is written into them, and how the server itself says what is in them.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// The types that are made for these tables.
pub(crate) const MADE: &str = "CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public;
    CREATE TYPE oracle_pair AS (a int, b text);
    CREATE TYPE oracle_outer AS (n numeric, p oracle_pair, l text[], at timestamp);
    CREATE TYPE oracle_mood AS ENUM ('glad', '=1+1', 'so, \"so\"', '@');
    CREATE DOMAIN oracle_number AS bigint CHECK (VALUE >= 0); CREATE DOMAIN oracle_count AS oracle_number";

/// Columns of a table at most, and rows of each.
const COLUMNS: usize = 12;
const ROWS: usize = 40;

/// A type, a random value of it in SQL, and how the server says a value `v`.
pub(crate) struct Kind {
    pub(crate) sql_type: String,
    value: BoxedStrategy<String>,
    /// As `support::values` says it, in both profiles.
    pub(crate) server: String,
    pub(crate) native: String,
    /// As `docs/formats.md` says it: the text, or JSON where it is nested.
    pub(crate) line: String,
    /// Whether readers of lines that know types know all its values; they know of no year below 1 or above 9999.
    pub(crate) readable: bool,
}

/// A kind that is said alike everywhere.
fn kind<S: Strategy<Value = String> + 'static>(sql_type: &str, value: S, server: &str) -> Kind {
    let server = server.to_owned();
    let (native, line) = (server.clone(), server.clone());
    Kind { sql_type: sql_type.to_owned(), value: value.boxed(), server, native, line, readable: true }
}

impl Kind {
    fn native(self, server: &str) -> Self {
        Self { native: server.to_owned(), ..self }
    }

    fn line(self, line: impl Into<String>) -> Self {
        Self { line: line.into(), ..self }
    }

    fn beyond_readers(self) -> Self {
        Self { readable: false, ..self }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as SQL writes it.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Text of any characters that PostgreSQL holds, and often of those that formats stumble over.
fn words() -> impl Strategy<Value = String> {
    const ODD: &[&str] = &[
        "", "NULL", "null", "\\N", "NaN", "true", "=1+1", "'", "''=x", "\u{feff}", "\"\"", "\r\n", " ", "#", "1e5", "-",
    ];
    prop_oneof![
        any::<String>().prop_map(|text| text.replace('\0', "")),
        "[=+@'\" ,;\\-\\\\\t\r\na-c01é🚗\u{2028}]{0,6}",
        prop::sample::select(ODD).prop_map(str::to_owned),
    ]
}

fn text() -> impl Strategy<Value = String> {
    words().prop_map(|text| quoted(&text))
}

/// JSON as people write it: with line ends between its parts, with keys that come twice, with numbers of any length.
fn document() -> impl Strategy<Value = String> {
    const ODD: &[&str] =
        &["null", "-1", "1.10", "1e400", "-0.0", "12345678901234567890123", "true", r#""\u00e9\/""#, "[]", "{}"];
    let leaf = prop_oneof![
        words().prop_map(|text| serde_json::to_string(&text).unwrap()),
        prop::sample::select(ODD).prop_map(str::to_owned)
    ]
    .boxed();
    let blank = prop::sample::select(&["", " ", "\n", "\r\n", "\t"][..]).boxed();
    let list = (prop::collection::vec(leaf.clone(), 0..4), blank.clone()).prop_map(|(items, blank)| {
        format!("{blank}[{blank}{}{blank}]{blank}", items.join(&format!("{blank},{blank}")))
    });
    let list = list.boxed();
    let pair = ("\"[ab]\"", prop_oneof![leaf.clone(), list.clone()]);
    let object = (prop::collection::vec(pair, 0..4), blank).prop_map(|(pairs, blank)| {
        let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}{blank}:{value}")).collect();
        format!("{blank}{{{}{blank}}}", pairs.join(","))
    });
    prop_oneof![leaf, list, object]
}

fn array<S: Strategy<Value = String>>(sql_type: &str, item: S) -> impl Strategy<Value = String> + use<S> {
    let sql_type = sql_type.to_owned();
    prop::collection::vec(prop::option::of(item), 0..6).prop_map(move |items| {
        let items: Vec<_> = items.into_iter().map(|item| item.unwrap_or("NULL".to_owned())).collect();
        format!("ARRAY[{}]::{sql_type}", items.join(","))
    })
}

/// What is said of each item `x` of an array or multirange, as a list.
fn each(item: &str) -> String {
    format!("coalesce((SELECT json_agg({item} ORDER BY o) FROM unnest(v) WITH ORDINALITY u(x, o)), '[]')::text")
}

fn micros(of: &str) -> String {
    format!("trunc(extract(epoch FROM {of}) * 1000000)::text")
}

/// A day as ISO 8601 has it, with the years of astronomers.
fn day(of: &str) -> String {
    let part = |field: &str, digits: usize| format!("lpad(extract({field} FROM {of})::text, {digits}, '0')");
    // By its parts: to_char() makes a timestamp of a date, and there are more dates.
    format!(
        "(CASE WHEN extract(year FROM {of}) < -1 THEN '-' || lpad((-1 - extract(year FROM {of}))::text, 4, '0')
               WHEN extract(year FROM {of}) = -1 THEN '0000'
               WHEN extract(year FROM {of}) > 9999 THEN '+' || extract(year FROM {of})::text
               ELSE {} END || '-' || {} || '-' || {})",
        part("year", 4),
        part("month", 2),
        part("day", 2)
    )
}

fn moment_of(of: &str) -> String {
    format!("({} || to_char({of}, '\"T\"HH24:MI:SS.US'))", day(of))
}

fn instant_of(of: &str) -> String {
    format!("({} || 'Z')", moment_of(&format!("({of} AT TIME ZONE 'UTC')")))
}

/// A range as an object; its bounds `b` said in one way, and what is true or not in another.
fn range(bound: &str, truth: &str) -> String {
    let [lower, upper] = ["lower", "upper"].map(|end| bound.replace("BOUND", &format!("{end}(v)")));
    format!(
        "json_build_object('lower', {lower}, 'upper', {upper}, 'lower_inc', lower_inc(v){truth},
         'upper_inc', upper_inc(v){truth}, 'empty', isempty(v){truth})"
    )
}

/// Two bounds, each there or not, and whether they belong to it.
fn bounds(low: std::ops::Range<i64>) -> impl Strategy<Value = ([Option<i64>; 2], [char; 2])> {
    (low, 0..1000_i64, any::<[bool; 4]>()).prop_map(|(low, length, [a, b, c, d])| {
        ([c.then_some(low), d.then_some(low + length)], [if a { '[' } else { '(' }, if b { ']' } else { ')' }])
    })
}

fn literal((ends, [open, close]): ([Option<i64>; 2], [char; 2]), decimals: &str) -> String {
    let [low, high] = ends.map(|end| end.map_or(String::new(), |end| format!("{end}{decimals}")));
    format!("{open}{low},{high}{close}")
}

/// Microseconds that every reader knows as moments, and those that files hold at all.
fn moments() -> std::ops::Range<i64> {
    -60_000_000_000_000_000_i64..250_000_000_000_000_000
}

fn all_moments() -> impl Strategy<Value = i64> {
    prop_oneof![
        -210_860_000_000_000_000_i64..-61_000_000_000_000_000,
        250_000_000_000_000_000_i64..9_223_300_000_000_000_000
    ]
}

fn stamp(zone: &'static str, micros: impl Strategy<Value = i64> + 'static) -> impl Strategy<Value = String> {
    micros.prop_map(move |micros| format!("(timestamp{zone} 'epoch' + interval '1 microsecond' * {micros})"))
}

fn date(days: std::ops::Range<i64>) -> impl Strategy<Value = String> {
    days.prop_map(|days| format!("(date '1970-01-01' + ({days}))"))
}

fn wide() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(&["NaN", "Infinity", "-Infinity", "-0"][..]).prop_map(quoted);
    prop_oneof![8 => any::<f64>().prop_map(|n| quoted(&n.to_string())), 1 => odd]
}

fn narrow() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(&["NaN", "Infinity", "-Infinity", "-0"][..]).prop_map(quoted);
    prop_oneof![8 => any::<f32>().prop_map(|n| quoted(&n.to_string())), 1 => odd]
}

fn bytes() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<u8>(), 0..40)
        .prop_map(|bytes| format!("'\\x{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

fn pair() -> impl Strategy<Value = String> {
    (prop::option::of(any::<i32>()), prop::option::of(text())).prop_map(|(a, b)| {
        format!(
            "ROW({}, {})::oracle_pair",
            a.map_or("NULL".to_owned(), |n| n.to_string()),
            b.unwrap_or("NULL".to_owned())
        )
    })
}

fn kinds() -> Vec<Kind> {
    let mut kinds = plain();
    kinds.extend(nested());
    kinds
}

fn plain() -> Vec<Kind> {
    const DAYS: &str = "(v - date '1970-01-01')::text";
    const CLOCK: &str = "to_char(v, 'HH24:MI:SS.US')";
    const OFFSET: &str =
        "to_char(v::time, 'HH24:MI:SS.US') || CASE WHEN extract(timezone FROM v) < 0 THEN '-' ELSE '+' END
        || to_char(interval '1 second' * abs(extract(timezone FROM v)), 'HH24:MI')";
    let clock = || (0..86_400_000_000_i64).prop_map(|us| format!("(time '00:00' + interval '1 microsecond' * {us})"));
    vec![
        kind("smallint", any::<i16>().prop_map(|n| format!("({n})")), "v::text"),
        kind("integer", any::<i32>().prop_map(|n| format!("({n})")), "v::text"),
        kind("bigint", any::<i64>().prop_map(|n| quoted(&n.to_string())), "v::text"),
        kind("oracle_count", (0..=i64::MAX).prop_map(|n| n.to_string()), "v::text"),
        kind("real", narrow(), "v::text"),
        kind("double precision", wide(), "v::text"),
        kind("boolean", any::<bool>().prop_map(|b| b.to_string()), "v::text"),
        kind("numeric", "-?[0-9]{1,60}([.][0-9]{1,60})?".prop_map(|n| quoted(&n)), "v::text"),
        kind("numeric(30,7)", "-?[0-9]{1,23}[.][0-9]{1,7}".prop_map(|n| quoted(&n)), "v::text"),
        kind("numeric(8,-3)", "-?[0-9]{1,10}".prop_map(|n| quoted(&n)), "v::text"),
        kind("numeric(4,9)", "-?0[.]00000[0-9]{0,4}".prop_map(|n| quoted(&n)), "v::text"),
        kind("money", any::<i64>().prop_map(|n| format!("({n}::numeric / 100)::money")), "v::numeric::text"),
        kind("text", text(), "v::text"),
        kind("character(7)", "[ =-~é]{0,7}".prop_map(|text| quoted(&text)), "convert_from(bpcharsend(v), 'UTF8')"),
        kind("oracle_mood", (1..=4).prop_map(|n| format!("(enum_range(NULL::oracle_mood))[{n}]")), "v::text"),
        kind("bytea", bytes(), "encode(v, 'hex')"),
        kind("timestamp with time zone", stamp("tz", moments()), &micros("v")).line(instant_of("v")),
        kind("timestamp without time zone", stamp("", moments()), &micros("v")).line(moment_of("v")),
        kind("date", date(-700_000..2_900_000), DAYS).line(day("v")),
        kind("timestamptz", stamp("tz", all_moments()), &micros("v")).line(instant_of("v")).beyond_readers(),
        kind("timestamp", stamp("", all_moments()), &micros("v")).line(moment_of("v")).beyond_readers(),
        kind("date", date(-2_440_000..2_140_000_000), DAYS).line(day("v")).beyond_readers(),
        kind("time", clock(), CLOCK).native(&micros("v")),
        kind(
            "timetz",
            (clock(), -959..=959_i32).prop_map(|(clock, minutes)| {
                let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
                format!("({clock}::text || '{sign}{:02}:{:02}')::timetz", minutes / 60, minutes % 60)
            }),
            OFFSET,
        ),
        kind("uuid", any::<u128>().prop_map(|n| quoted(&format!("{n:032x}"))), "v::text")
            .native("replace(v::text, '-', '')"),
        kind("jsonb", text().prop_map(|text| format!("jsonb_build_object('k', {text}::text)")), "v::text"),
        kind("json", document().prop_map(|text| quoted(&text)), "v::text").beyond_readers(),
        kind(
            "inet",
            (any::<u32>(), 0_u8..=32).prop_map(|(ip, bits)| format!("set_masklen('0.0.0.0'::inet + {ip}, {bits})")),
            "inet_out(v)::text",
        ),
        kind(
            "inet",
            (any::<u128>(), any::<u128>(), 0_u8..=128).prop_map(|(ip, mask, bits)| {
                // Bits in groups, so that runs of zeros are frequent.
                let mask = (0..8)
                    .fold(0, |all, group| all | if mask >> group & 1 == 0 { 0 } else { 0xffff_u128 << (16 * group) });
                format!("'{}/{bits}'", std::net::Ipv6Addr::from_bits(ip & mask))
            }),
            "inet_out(v)::text",
        ),
        kind("varbit", "[01]{0,70}".prop_map(|bits| format!("B'{bits}'")), "v::text"),
        kind(
            "tsvector",
            prop::collection::vec(text(), 0..4)
                .prop_map(|words| format!("array_to_tsvector(array_remove(ARRAY[{}]::text[], ''))", words.join(","))),
            "v::text",
        ),
    ]
}

fn nested() -> Vec<Kind> {
    const TEXTS: &str = "to_jsonb(v::text[])::text";
    const LIST: &str = "to_json(v)::text";
    const INTERVAL: &str = "json_build_object(
         'months', (extract(year FROM v) * 12 + extract(month FROM v))LEAF, 'days', extract(day FROM v)LEAF,
         'microseconds', (extract(hour FROM v)::numeric * 3600000000 + extract(minute FROM v)::numeric * 60000000
                          + extract(microseconds FROM v)::numeric)::numeric(40,0)LEAF)::text";
    const OUTER: &str = "json_build_object('n', (v).n::text, 'p', PAIR, 'l', to_json((v).l), 'at', AT)::text";
    const PAIR: &str = "json_build_object('a', (PLACE).a::text, 'b', (PLACE).b)";
    let outer = (prop::option::of("-?[0-9]{1,40}"), pair(), array("text[]", text()), stamp("", moments()));
    let said_range = |bound: &str| range(bound, "::text") + "::text";
    vec![
        kind(
            "interval",
            (-100_000..100_000, any::<i16>(), moments()).prop_map(|(months, days, us)| {
                format!("(make_interval(months => {months}, days => {days}) + interval '1 microsecond' * {us})")
            }),
            &INTERVAL.replace("LEAF", "::text"),
        )
        .line(INTERVAL.replace("LEAF", "")),
        kind("integer[]", array("int[]", any::<i32>().prop_map(|n| n.to_string())), TEXTS).line(LIST),
        kind("bigint[]", array("bigint[]", any::<i64>().prop_map(|n| quoted(&n.to_string()))), TEXTS).line(LIST),
        kind("text[]", array("text[]", text()), TEXTS),
        kind("boolean[]", array("boolean[]", any::<bool>().prop_map(|b| b.to_string())), TEXTS).line(LIST),
        kind("double precision[]", array("float8[]", wide()), TEXTS).line(LIST),
        kind("real[]", array("float4[]", narrow()), TEXTS).line(LIST),
        kind("numeric(20,4)[]", array("numeric(20,4)[]", "-?[0-9]{1,16}[.][0-9]{1,4}".prop_map(|n| quoted(&n))), TEXTS),
        kind("bytea[]", array("bytea[]", bytes()), &each("encode(x, 'hex')")),
        kind("date[]", array("date[]", date(-2_440_000..2_140_000_000)), &each("(x - date '1970-01-01')::text"))
            .line(each(&day("x"))),
        kind("timestamptz[]", array("timestamptz[]", stamp("tz", all_moments())), &each(&micros("x")))
            .line(each(&instant_of("x"))),
        kind("uuid[]", array("uuid[]", any::<u128>().prop_map(|n| quoted(&format!("{n:032x}")))), TEXTS)
            .native(&each("replace(x::text, '-', '')")),
        kind(
            "jsonb[]",
            array("jsonb[]", text().prop_map(|text| format!("jsonb_build_array({text}::text, 1.10, NULL)"))),
            TEXTS,
        )
        .line(LIST),
        kind(
            "int8range",
            bounds(-5_000_000_000..5_000_000_000).prop_map(|bounds| quoted(&literal(bounds, ""))),
            &said_range("BOUND::text"),
        )
        .line(range("BOUND", "") + "::text"),
        kind(
            "numrange",
            bounds(-5_000_000_000..5_000_000_000).prop_map(|bounds| quoted(&literal(bounds, ".50"))),
            &said_range("BOUND::text"),
        )
        .line(range("BOUND::text", "") + "::text"),
        kind(
            "tstzrange",
            bounds(0..250_000_000_000).prop_map(|(ends, [open, close])| {
                let [low, high] =
                    ends.map(|end| end.map_or("NULL".to_owned(), |end| format!("to_timestamp({end}.25)")));
                format!("tstzrange({low}, {high}, '{open}{close}')")
            }),
            &said_range(&micros("BOUND")),
        )
        .line(range(&instant_of("BOUND"), "") + "::text"),
        kind(
            "int4multirange",
            prop::collection::vec(bounds(0..1_000_000), 0..4).prop_map(|ranges| {
                let ranges: Vec<_> = ranges.into_iter().map(|bounds| literal(bounds, "")).collect();
                format!("'{{{}}}'", ranges.join(","))
            }),
            &each(&range("BOUND::text", "::text").replace("(v)", "(x)")),
        )
        .line(each(&range("BOUND", "").replace("(v)", "(x)"))),
        kind("oracle_pair", pair(), &format!("{}::text", PAIR.replace("PLACE", "v"))).line(LIST),
        kind(
            "oracle_outer",
            outer.prop_map(|(n, pair, list, at)| {
                format!("ROW({}, {pair}, {list}, {at})::oracle_outer", n.unwrap_or("NULL".to_owned()))
            }),
            &OUTER.replace("PAIR", &PAIR.replace("PLACE", "(v).p")).replace("AT", &micros("(v).at")),
        )
        .line(OUTER.replace("PAIR", "to_json((v).p)").replace("AT", &moment_of("(v).at"))),
        kind(
            "public.hstore",
            prop::collection::vec((text(), prop::option::of(text())), 0..4).prop_map(|pairs| {
                let pairs: Vec<_> = pairs
                    .into_iter()
                    .map(|(key, value)| format!("public.hstore({key}, {})", value.unwrap_or("NULL".to_owned())))
                    .collect();
                if pairs.is_empty() { "''".to_owned() } else { pairs.join(" OPERATOR(public.||) ") }
            }),
            "public.hstore_to_json(v)::text",
        ),
    ]
}

/// The same tables in every run: a failure can be looked at again.
pub(crate) struct Tables {
    kinds: Vec<Kind>,
    runner: TestRunner,
    made: usize,
}

/// One of them: `t`, with an `id` that counts its rows.
pub(crate) struct Table<'a> {
    /// Names and kinds of its other columns.
    pub(crate) columns: Vec<(String, &'a Kind)>,
    /// What makes it, in place of the one before.
    pub(crate) sql: String,
}

impl Tables {
    pub(crate) fn new() -> Self {
        let runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        Self { kinds: kinds(), runner, made: 0 }
    }

    /// So many in which every kind comes first once.
    pub(crate) fn rounds(&self) -> usize {
        self.kinds.len()
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Table<'_> {
        let Self { kinds, runner, made } = self;
        let mut some = |strategy: &BoxedStrategy<String>| strategy.new_tree(runner).unwrap().current();
        let place = (0..kinds.len()).prop_map(|place| place.to_string()).boxed();
        let mut columns = vec![(name(0, *made), &kinds[*made % kinds.len()])];
        for at in 1..=*made % COLUMNS {
            columns.push((name(at, *made), &kinds[some(&place).parse::<usize>().unwrap()]));
        }
        let types: Vec<_> =
            columns.iter().map(|(name, kind)| format!("{} {}", identifier(name), kind.sql_type)).collect();
        let mut sql = format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, {})", types.join(", "));
        let seldom = (0..5).prop_map(|one: i32| one.to_string()).boxed();
        for row in 0..ROWS {
            let mut values = vec![row.to_string()];
            for (_, kind) in &columns {
                values.push(if some(&seldom) == "0" { "NULL".to_owned() } else { some(&kind.value) });
            }
            sql += &format!("; INSERT INTO t VALUES ({})", values.join(", "));
        }
        *made += 1;
        Table { columns, sql }
    }
}

/// The name of a column, often one that a format must quote.
fn name(at: usize, table: usize) -> String {
    match (at + table) % 9 {
        0 => format!("with, comma{at}"),
        1 => format!("\"quoted\"{at}"),
        2 => format!("line\nend{at}"),
        3 => format!("={at}"),
        4 => format!("ünï 🚗{at}"),
        5 => format!("back\\slash '{at}'"),
        _ => format!("c{at}"),
    }
}
