//! Actions as expressions of PostgreSQL give what they give in the process, on values at the edges and at random.

use arrow::array::Array;
use classification::actions::{Action, PseudonymSql, Pseudonymiser, TimePart, network_prefix};
use classification::{ColumnKind, Predicate};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sqlx::AssertSqlSafe;

use crate::support::protect::{KEY, care, column, grant_all, protect, texts};
use crate::support::warehouse::TestWarehouse;

/// Values of a type as literals: those at its edges, and how more are made.
struct Values {
    sql_type: &'static str,
    edges: &'static [&'static str],
    random: BoxedStrategy<String>,
    actions: Vec<Action>,
}

fn pseudonym() -> Action {
    Action::Pseudonym { domain: "it's \\ a trip ß".to_owned(), per_day: false }
}

fn rounds(decimals: &[i8]) -> Vec<Action> {
    decimals.iter().map(|&decimals| Action::Round { decimals }).collect()
}

const PARTS: [TimePart; 7] = [
    TimePart::Minute,
    TimePart::Hour,
    TimePart::Day,
    TimePart::Week,
    TimePart::Month,
    TimePart::Quarter,
    TimePart::Year,
];

fn truncs(parts: &[TimePart]) -> Vec<Action> {
    parts.iter().map(|&part| Action::DateTrunc { part }).collect()
}

fn types() -> Vec<Values> {
    let text_actions = || {
        vec![
            Action::Null,
            Action::Redact,
            Action::MaskLast4,
            Action::Truncate { length: 0 },
            Action::Truncate { length: 3 },
            Action::Truncate { length: u32::MAX },
            pseudonym(),
        ]
    };
    let texts = &[
        "",
        "a",
        "abcd",
        "abcde",
        "straße-ß1ü",
        "🚗🚕🚙🚌🚎",
        "a\u{301}bcd\u{301}",
        " x ",
        "\u{202e}abc\u{202c}",
        "it's \\",
    ];
    let integer = |sql_type, edges, random, mut more: Vec<Action>| {
        more.extend(rounds(&[-1, -2, -5, -18]));
        Values { sql_type, edges, random, actions: more }
    };
    let float_rounds = || rounds(&[0, 1, 3, 18, -1, -2, -18]);
    let timestamp = |sql_type| Values {
        sql_type,
        edges: &[
            "1970-01-01 00:00:00",
            "1969-12-31 23:59:59.999999",
            "2026-11-19 12:34:56.789012",
            "2024-02-29 23:59:60",
            "0001-01-01 00:00:00",
            "4712-03-01 00:00:00 BC",
            "262142-12-31 23:59:59.999999",
            "262143-01-01 00:00:00",
            "294246-12-31 23:59:59.999999",
            "2026-03-29 01:30:00",
            "2026-01-05 00:00:00",
        ],
        random: (-200_000_000_000_i64..4_000_000_000_000, 0..1_000_000_u32)
            .prop_map(|(seconds, micros)| {
                let at = chrono::DateTime::from_timestamp(seconds, micros * 1000).unwrap();
                let year = at.format("%Y").to_string().parse::<i64>().unwrap();
                let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
                format!("{year:04}-{}{era}", at.format("%m-%d %H:%M:%S%.6f"))
            })
            .boxed(),
        actions: truncs(&PARTS),
    };
    vec![
        Values { sql_type: "text", edges: texts, random: "\\PC{0,12}".boxed(), actions: text_actions() },
        Values {
            sql_type: "character varying(30)",
            edges: texts,
            random: "\\PC{0,12}".boxed(),
            actions: text_actions(),
        },
        Values {
            sql_type: "uuid",
            edges: &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
            random: any::<u128>().prop_map(|bits| uuid::Uuid::from_u128(bits).to_string()).boxed(),
            actions: vec![Action::Null, pseudonym()],
        },
        integer(
            "smallint",
            &["0", "5", "-5", "15", "25", "32767", "-32768", "32764", "32765"],
            any::<i16>().prop_map(|v| v.to_string()).boxed(),
            vec![],
        ),
        integer(
            "integer",
            &["0", "49", "50", "-50", "2147483647", "-2147483648"],
            any::<i32>().prop_map(|v| v.to_string()).boxed(),
            vec![Action::Null],
        ),
        integer(
            "bigint",
            &["0", "-1", "9223372036854775807", "-9223372036854775808"],
            any::<i64>().prop_map(|v| v.to_string()).boxed(),
            vec![pseudonym()],
        ),
        integer("oid", &["0", "4294967295", "5"], any::<u32>().prop_map(|v| v.to_string()).boxed(), vec![]),
        Values {
            sql_type: "double precision",
            edges: &[
                "0",
                "-0",
                "0.5",
                "1.5",
                "2.5",
                "-0.0004",
                "NaN",
                "Infinity",
                "-Infinity",
                "1.7976931348623157e308",
                "-1.7976931348623157e308",
                "5e-324",
                "2.2250738585072014e-308",
                "1.797693134862315e305",
                "1.7976931348623158e305",
                "1e290",
                "1250",
                "0.3",
                "-0.3",
                "1e17",
                "5e17",
                "9007199254740993",
                "1.005",
                "1.0005",
            ],
            random: prop_oneof![any::<f64>().prop_filter("finite", |v| v.is_finite()), -1e6..1e6_f64]
                .prop_map(|v| format!("{v:e}"))
                .boxed(),
            actions: float_rounds(),
        },
        Values {
            sql_type: "real",
            edges: &[
                "0",
                "-0",
                "0.5",
                "2.5",
                "NaN",
                "Infinity",
                "-Infinity",
                "3.4028235e38",
                "-3.4028235e38",
                "1e-45",
                "1.005",
                "-0.3",
            ],
            random: any::<f32>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| format!("{v:e}")).boxed(),
            actions: float_rounds(),
        },
        Values {
            sql_type: "numeric(10,2)",
            edges: &["0", "-0.01", "0.05", "-0.05", "99999999.99", "-99999999.99", "99999999.94", "49.99", "50"],
            random: (-9_999_999_999_i64..=9_999_999_999).prop_map(|v| format!("{v}e-2")).boxed(),
            actions: rounds(&[0, 1, 2, 5, -1, -8, -9, -18]),
        },
        Values {
            sql_type: "numeric(38,38)",
            edges: &[
                "0",
                "0.99999999999999999999999999999999999999",
                "-0.5",
                "0.00000000000000000000000000000000000001",
            ],
            random: any::<i64>().prop_map(|v| format!("{v}e-20")).boxed(),
            actions: rounds(&[0, 3, 18, -18]),
        },
        Values {
            sql_type: "numeric",
            edges: &[
                "0",
                "0.000",
                "-0.0004",
                "1.50",
                "9.9995",
                "-999.9999",
                "1e30",
                "5e17",
                "4.9e17",
                "123456789012345678901234567890.125",
                "1e-30",
                "0.5",
                "-0.5",
                "10",
                "95",
                "-95",
                "5",
                "4",
            ],
            random: (any::<i64>(), -30_i32..30).prop_map(|(v, exponent)| format!("{v}e{exponent}")).boxed(),
            actions: rounds(&[0, 1, 3, 18, -1, -2, -18]),
        },
        Values {
            sql_type: "numeric(50,4)",
            edges: &["0", "1.00005", "99999999999999999999999999999999999999999999.9999"],
            random: any::<i64>().prop_map(|v| format!("{v}e-4")).boxed(),
            actions: rounds(&[0, 3, 4, 9, -3]),
        },
        timestamp("timestamp without time zone"),
        timestamp("timestamp with time zone"),
        timestamp("timestamp(3) without time zone"),
        Values {
            sql_type: "date",
            edges: &[
                "1970-01-01",
                "1969-12-31",
                "2024-02-29",
                "0001-01-01",
                "4712-03-01 BC",
                "262142-12-31",
                "262143-01-01",
                "5874897-12-31",
            ],
            random: (-2_000_000_i32..80_000_000).prop_map(|days| format!("epoch {days}")).boxed(),
            actions: truncs(&PARTS[2..]),
        },
    ]
}

/// A literal's value as an expression.
fn expression(sql_type: &str) -> String {
    match sql_type {
        "date" => "CASE WHEN x LIKE 'epoch %' THEN '1970-01-01'::date + substr(x, 7)::int ELSE x::date END".to_owned(),
        other => format!("x::{other}"),
    }
}

#[tokio::test]
async fn statements_and_process_give_the_same() {
    let mut test = TestWarehouse::new("protect_sql").await;
    let mut runner = TestRunner::deterministic();
    let [inner, outer] = Pseudonymiser::pads(KEY).unwrap();
    test.run("SET TIME ZONE 'UTC'; CREATE TABLE k (i bytea, o bytea)").await;
    sqlx::query("INSERT INTO k VALUES ($1, $2)").bind(inner).bind(outer).execute(&mut test.sql).await.unwrap();
    let with = PseudonymSql { inner_pad: "(SELECT i FROM k)", outer_pad: "(SELECT o FROM k)", day: None };
    for (number, values) in types().into_iter().enumerate() {
        let Values { sql_type, edges, random, actions } = values;
        let mut literals: Vec<Option<String>> = edges.iter().map(|&edge| Some(edge.to_owned())).collect();
        literals.extend((0..200).map(|_| Some(random.new_tree(&mut runner).unwrap().current())));
        literals.push(None);
        let names: Vec<String> = (0..actions.len()).map(|place| format!("v{place}")).collect();
        let columns: Vec<String> = names.iter().map(|name| format!("{name} {sql_type}")).collect();
        test.run(format!("CREATE TABLE t{number} (id bigint, {})", columns.join(", "))).await;
        let each = vec![expression(sql_type); names.len()].join(", ");
        let fill =
            format!("INSERT INTO t{number} SELECT n, {each} FROM unnest($1::text[]) WITH ORDINALITY AS u (x, n)");
        sqlx::query(AssertSqlSafe(fill)).bind(&literals).execute(&mut test.sql).await.unwrap();

        let mut policy = grant_all(&test, &format!("t{number}")).await;
        let mut list = vec!["id".to_owned()];
        for (name, action) in names.iter().zip(&actions) {
            care(&mut policy, name, Predicate::Always, action.clone());
            let kind = column(&mut policy, name).kind;
            let sql = action.postgres(name, kind, sql_type, Some(with));
            let sql = sql.unwrap_or_else(|| panic!("{action} of {sql_type} has no expression"));
            list.push(format!("{sql} AS {name}"));
        }
        test.run(format!("CREATE TABLE r{number} AS SELECT {} FROM t{number}", list.join(", "))).await;
        let (in_process, _) = protect(&test, &policy).await.unwrap();
        let whole = test.whole(&format!("r{number}")).await;
        let by_statement = test.read(&whole).await.unwrap();
        assert_eq!(by_statement.len(), 1);
        for (name, action) in names.iter().zip(&actions) {
            let [one, two] = [&in_process, &by_statement[0]].map(|batch| batch.column_by_name(name).unwrap());
            assert_eq!(one.data_type(), two.data_type(), "{action} of {sql_type}");
            if one != two {
                let (one, two) = (texts(one), texts(two));
                let row = (0..one.len()).find(|&row| one[row] != two[row]);
                panic!("{action} of {sql_type}: {:?}", row.map(|row| (&literals[row], &one[row], &two[row])));
            }
            assert!(one.null_count() >= 1 && *action != Action::Null || one.null_count() == one.len(), "{action}");
        }
    }
}

#[tokio::test]
async fn networks_are_those_of_the_process() {
    let mut test = TestWarehouse::new("protect_sql_inet").await;
    let mut runner = TestRunner::deterministic();
    let v4 = (any::<u32>(), 0_u8..=32)
        .prop_map(|(bits, length)| format!("{}/{length}", std::net::Ipv4Addr::from_bits(bits)));
    let v6 = (any::<u128>(), 0_u32..128, 0_u8..=128).prop_map(|(bits, zeros, length)| {
        format!("{}/{length}", std::net::Ipv6Addr::from_bits(bits >> zeros << (zeros / 2)))
    });
    let mut addresses: Vec<String> =
        ["192.0.2.77", "::1", "::ffff:192.0.2.1", "2001:db8::/32", "0.0.0.0/0", "::/0"].map(str::to_owned).into();
    addresses.extend((0..200).map(|_| v4.new_tree(&mut runner).unwrap().current()));
    addresses.extend((0..400).map(|_| v6.new_tree(&mut runner).unwrap().current()));
    for (v4, v6) in [(24, 48), (0, 0), (32, 96), (9, 65)] {
        let action = Action::NetworkPrefix { v4, v6 };
        let sql = action.postgres("x::inet", ColumnKind::Other, "inet", None).unwrap();
        let sql = format!("SELECT {sql} FROM unnest($1::text[]) AS u (x)");
        let found: Vec<Option<String>> =
            sqlx::query_scalar(AssertSqlSafe(sql)).bind(&addresses).fetch_all(&mut test.sql).await.unwrap();
        let want: Vec<Option<String>> = addresses.iter().map(|address| network_prefix(address, v4, v6)).collect();
        assert_eq!(found, want, "{action}");
    }
}

#[tokio::test]
async fn a_key_is_a_parameter_and_days_are_kept_apart() {
    let mut test = TestWarehouse::new("protect_sql_day").await;
    let [inner, outer] = Pseudonymiser::pads(KEY).unwrap();
    let key = Pseudonymiser::new(KEY).unwrap();
    let action = Action::Pseudonym { domain: "trip".to_owned(), per_day: true };
    let with = PseudonymSql { inner_pad: "$1", outer_pad: "$2", day: Some("d") };
    let sql = action.postgres("x", ColumnKind::Text, "text", Some(with)).unwrap();
    assert!(!sql.contains("6b6579") && !sql.contains("key"), "{sql}");
    let sql = format!("SELECT {sql} FROM (VALUES ('a', '2026-11-19'), ('a', '2026-11-20'), ('a', NULL)) AS v (x, d)");
    let found: Vec<Option<String>> =
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(inner).bind(outer).fetch_all(&mut test.sql).await.unwrap();
    let want = |day| Some(key.hex("trip", Some(day), b"a"));
    assert_eq!(found, [want("2026-11-19"), want("2026-11-20"), None]);
    // Without a day or a key there is nothing to be made.
    let without = PseudonymSql { day: None, ..with };
    assert_eq!(action.postgres("x", ColumnKind::Text, "text", Some(without)), None);
    assert_eq!(action.postgres("x", ColumnKind::Text, "text", None), None);
}

#[test]
fn where_the_same_cannot_be_had_there_is_no_expression() {
    let with = Some(PseudonymSql { inner_pad: "$1", outer_pad: "$2", day: None });
    for (action, kind, sql_type) in [
        (Action::Drop, ColumnKind::Text, "text"),
        (Action::MaskLast4, ColumnKind::Text, "character(6)"),
        (Action::Truncate { length: 2 }, ColumnKind::Text, "ops.label"),
        (pseudonym(), ColumnKind::Text, "character(6)"),
        (pseudonym(), ColumnKind::Number, "integer"),
        (Action::NetworkPrefix { v4: 24, v6: 48 }, ColumnKind::Text, "text"),
        (Action::NetworkPrefix { v4: 24, v6: 97 }, ColumnKind::Other, "inet"),
        (Action::RoundWkt { decimals: 3 }, ColumnKind::Text, "text"),
        (Action::Round { decimals: 1 }, ColumnKind::Number, "numeric(3,5)"),
        (Action::Round { decimals: 1 }, ColumnKind::Number, "numeric(5,-2)"),
        (Action::Round { decimals: 1 }, ColumnKind::Number, "ops.amount"),
        (Action::Round { decimals: 1 }, ColumnKind::Number, "integer"),
        (Action::DateTrunc { part: TimePart::Hour }, ColumnKind::Time, "date"),
        (Action::DateTrunc { part: TimePart::Day }, ColumnKind::Time, "ops.day"),
    ] {
        assert_eq!(action.postgres("x", kind, sql_type, with), None, "{action} of {sql_type}");
    }
}
