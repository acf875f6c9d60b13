//! What `hwc` does to values.

use std::borrow::Cow;

use classification::ColumnKind;
use classification::actions::{
    Action, Pseudonymiser, TextColumn, TimePart, mask_last4, network_prefix, round_decimal, round_float, round_integer,
    round_wkt, trunc_days, trunc_micros, truncate,
};
use classification::rules::ActionKind;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn parameters_are_read_or_refused() {
    use ActionKind::{Drop, Generalise, MaskLast4, Null, Pseudonym, Redact, Truncate};
    for (kind, params, action) in [
        (Drop, json!({}), Action::Drop),
        (Null, json!({}), Action::Null),
        (Redact, json!({}), Action::Redact),
        (MaskLast4, json!({}), Action::MaskLast4),
        (Pseudonym, json!({"domain": "driver"}), Action::Pseudonym { domain: "driver".to_owned(), per_day: false }),
        (
            Pseudonym,
            json!({"domain": "trip", "per": "day"}),
            Action::Pseudonym { domain: "trip".to_owned(), per_day: true },
        ),
        (Generalise, json!({"round": 3}), Action::Round { decimals: 3 }),
        (Generalise, json!({"date_trunc": "hour"}), Action::DateTrunc { part: TimePart::Hour }),
        (Generalise, json!({"network_prefix": {"v4": 24, "v6": 48}}), Action::NetworkPrefix { v4: 24, v6: 48 }),
        (Generalise, json!({"wkt": 3}), Action::RoundWkt { decimals: 3 }),
        (Truncate, json!({"length": 4}), Action::Truncate { length: 4 }),
    ] {
        assert_eq!(Action::parse(kind, &params), Ok(action), "{kind} {params}");
    }
    for (kind, params, words) in [
        (Drop, json!({"x": 1}), "unknown field `x`"),
        (Drop, json!([1]), "invalid length"),
        (Redact, json!({"with": "x"}), "unknown field `with`"),
        (Pseudonym, json!({}), "missing field `domain`"),
        (Pseudonym, json!({"domain": " "}), "domain is blank"),
        (Pseudonym, json!({"domain": "x", "per": "hour"}), "unknown variant `hour`"),
        (Generalise, json!({}), "params of generalise: "),
        (Generalise, json!({"round": 3, "wkt": 3}), "params of generalise: "),
        (Generalise, json!({"round": 30}), "write -18 to 18"),
        (Generalise, json!({"round": "3"}), "invalid type"),
        (Generalise, json!({"date_trunc": "century"}), "unknown variant `century`"),
        (Generalise, json!({"network_prefix": {"v4": 33, "v6": 48}}), "at most 32"),
        (Generalise, json!({"wkt": 19}), "write 0 to 18"),
        (Truncate, json!({}), "missing field `length`"),
        (Truncate, json!({"length": -1}), "invalid value"),
    ] {
        let error = Action::parse(kind, &params).unwrap_err().to_string();
        assert!(error.contains(words), "{kind} {params}: {error}");
    }
}

#[test]
fn actions_serve_their_types_only() {
    use ColumnKind::{Binary, Boolean, Enum, Json, Number, Text, Time, Uuid};
    let types = [
        (Text, "text"),
        (Text, "character varying(20)"),
        (Enum, "mood"),
        (Json, "jsonb"),
        (Number, "bigint"),
        (Number, "integer"),
        (Number, "numeric(10,2)"),
        (Number, "double precision"),
        (Time, "timestamp with time zone"),
        (Time, "date"),
        (Time, "time without time zone"),
        (Uuid, "uuid"),
        (Boolean, "boolean"),
        (Binary, "bytea"),
        (ColumnKind::Other, "inet"),
    ];
    let pseudonym = Action::Pseudonym { domain: "d".to_owned(), per_day: false };
    for (action, served) in [
        (
            Action::Drop,
            "text character varying(20) mood jsonb bigint integer numeric(10,2) double precision timestamp with time zone date \
            time without time zone uuid boolean bytea inet",
        ),
        (Action::Redact, "text character varying(20) mood"),
        (Action::MaskLast4, "text character varying(20)"),
        (Action::Truncate { length: 1 }, "text character varying(20)"),
        (pseudonym, "text character varying(20) bigint uuid"),
        (Action::Round { decimals: 2 }, "numeric(10,2) double precision"),
        (Action::Round { decimals: -2 }, "bigint integer numeric(10,2) double precision"),
        (Action::DateTrunc { part: TimePart::Hour }, "timestamp with time zone"),
        (Action::DateTrunc { part: TimePart::Month }, "timestamp with time zone date"),
        (Action::NetworkPrefix { v4: 24, v6: 48 }, "text character varying(20) inet"),
        (Action::RoundWkt { decimals: 3 }, "text character varying(20)"),
    ] {
        let fitting: Vec<&str> = types
            .iter()
            .filter(|(kind, sql_type)| action.fits(*kind, sql_type).is_ok())
            .map(|(_, name)| *name)
            .collect();
        assert_eq!(fitting.join(" "), served.split_whitespace().collect::<Vec<_>>().join(" "), "{action}");
    }
    let error = Action::MaskLast4.fits(Number, "bigint").unwrap_err();
    assert_eq!(error.to_string(), "mask_last4 does not fit a column of type bigint: it serves text");
}

#[test]
fn texts_are_masked_and_cut_by_characters() {
    for (text, masked) in
        [("", ""), ("abcd", "****"), ("abcde", "*bcde"), ("straße-ß1ü", "******-ß1ü"), ("🚗🚕🚙🚌🚎", "*🚕🚙🚌🚎")]
    {
        assert_eq!(mask_last4(text), masked);
    }
    for (text, length, cut) in [("straße", 5, "straß"), ("ab", 5, "ab"), ("ab", 0, ""), ("🚗🚕", 1, "🚗")] {
        assert_eq!(truncate(text, length), cut);
    }
}

#[test]
fn networks_of_addresses() {
    for (address, network) in [
        ("192.0.2.77", Some("192.0.2.0/24")),
        ("192.0.2.77/32", Some("192.0.2.0/24")),
        ("192.0.0.0/8", Some("192.0.0.0/8")),
        ("2001:db8:1:2::3", Some("2001:db8:1::/48")),
        ("192.0.2.77/33", None),
        ("192.0.2.77/x", None),
        ("192.0.2", None),
        ("jane", None),
        ("", None),
    ] {
        assert_eq!(network_prefix(address, 24, 48).as_deref(), network, "{address}");
    }
    assert_eq!(network_prefix("192.0.2.77", 0, 0).as_deref(), Some("0.0.0.0/0"));
    assert_eq!(network_prefix("2001:db8::1", 0, 0).as_deref(), Some("::/0"));
    assert_eq!(network_prefix("192.0.2.77", 32, 128).as_deref(), Some("192.0.2.77/32"));
}

#[test]
fn coordinates_in_well_known_text() {
    for (text, rounded) in [
        ("POINT(13.377149 52.516249)", Some("POINT(13.377 52.516)")),
        ("POINT (-0.00049 0.0005)", Some("POINT (0 0.001)")),
        ("POINT(9.9996 -99.9999)", Some("POINT(10 -100)")),
        ("SRID=4326;LINESTRING Z (1.23456 2 3.5, 4.1 5 6)", Some("SRID=4326;LINESTRING Z (1.235 2 3.5, 4.1 5 6)")),
        ("POLYGON EMPTY", Some("POLYGON EMPTY")),
        ("point(1.5e-1 .12345)", Some("point(0.15 0.123)")),
        ("POINT(1.0005 1.00049999999999999999)", Some("POINT(1.001 1)")),
        ("jane@example.com", None),
        ("POINT(1 2) Jane", None),
        ("13.377149 52.516249", None),
        ("POINT(1 2", None),
        ("POINT 1 2)", None),
        ("POINT(1.2.3 4)", None),
        ("", None),
    ] {
        assert_eq!(round_wkt(text, 3).as_deref(), rounded, "{text}");
    }
    assert_eq!(round_wkt("POINT(0.5 1.4)", 0).as_deref(), Some("POINT(1 1)"));
}

#[test]
fn numbers_are_rounded() {
    let mut floats = [13.377_149, -0.000_5, 2.5, f64::NAN, f64::INFINITY, f64::MAX];
    round_float(&mut floats, 3);
    assert_eq!(&floats[..3], [13.377, 0.0, 2.5]);
    assert!(floats[3].is_nan() && floats[4] == f64::INFINITY && floats[5] == f64::MAX);
    let mut halves = [0.5, 1.5, 2.5, 1250.0];
    round_float(&mut halves, 0);
    assert_eq!(halves, [0.0, 2.0, 2.0, 1250.0]);
    round_float(&mut halves, -2);
    assert_eq!(halves[3], 1200.0);
    for (value, decimals, rounded) in [
        (1249, -2, Some(1200)),
        (1250, -2, Some(1300)),
        (-1250, -2, Some(-1300)),
        (5, -1, Some(10)),
        (5, 0, Some(5)),
        (i64::MAX, -1, None),
        (7, -18, Some(0)),
    ] {
        assert_eq!(round_integer(value, decimals), rounded, "{value} {decimals}");
    }
    for (value, scale, decimals, rounded) in [
        (12_345, 2, 1, Some(12_350)),
        (-12_345, 2, 1, Some(-12_350)),
        (12_344, 2, 1, Some(12_340)),
        (12_345, 2, 5, Some(12_345)),
        (12_345, 2, -2, Some(10_000)),
        (i128::MAX, 0, -1, None),
        (9, 38, -18, Some(0)),
        (4, 1, 0, Some(0)),
        (5, 1, 0, Some(10)),
    ] {
        assert_eq!(round_decimal(value, scale, decimals), rounded, "{value} {scale} {decimals}");
    }
}

#[test]
fn times_are_cut_to_their_beginning() {
    // 2026-11-19 is a Thursday.
    let instant = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros();
    for (part, cut) in [
        (TimePart::Minute, "2026-11-19T12:34:00Z"),
        (TimePart::Hour, "2026-11-19T12:00:00Z"),
        (TimePart::Day, "2026-11-19T00:00:00Z"),
        (TimePart::Week, "2026-11-16T00:00:00Z"),
        (TimePart::Month, "2026-11-01T00:00:00Z"),
        (TimePart::Quarter, "2026-10-01T00:00:00Z"),
        (TimePart::Year, "2026-01-01T00:00:00Z"),
    ] {
        assert_eq!(trunc_micros(instant("2026-11-19T12:34:56.789012Z"), part), Some(instant(cut)), "{part}");
    }
    assert_eq!(trunc_micros(instant("1969-12-31T23:59:59.5Z"), TimePart::Hour), Some(instant("1969-12-31T23:00:00Z")));
    assert_eq!(trunc_days(-1, TimePart::Month), Some(-31));
    for part in [TimePart::Week, TimePart::Month] {
        assert_eq!(trunc_micros(i64::MAX, part), None);
        assert_eq!(trunc_micros(i64::MIN, part), None);
    }
    assert_eq!(trunc_micros(i64::MIN, TimePart::Hour), None);
}

#[test]
fn actions_on_a_column_of_text() {
    let key = Pseudonymiser::new(&[3; 32]).unwrap();
    let trip = Action::Pseudonym { domain: "trip".to_owned(), per_day: true };
    assert_eq!(trip.on_text("a", Some(&key), None), None);
    assert_eq!(trip.on_text("a", None, Some("2026-11-19")), None);
    let (monday, tuesday) =
        (trip.on_text("a", Some(&key), Some("2026-11-16")), trip.on_text("a", Some(&key), Some("2026-11-17")));
    assert!(monday.is_some() && monday != tuesday);
    // An action that is not for text lets none through.
    assert_eq!(Action::Round { decimals: 1 }.on_text("secret", None, None), None);

    let wkt = Action::RoundWkt { decimals: 1 };
    let values = "POINT(1.23 4)junkPOINT(5 6.78)";
    let column =
        TextColumn::map(values, &[0_i32, 13, 17, 17, 30], |row| row != 2, |text| wkt.on_text(text, None, None))
            .unwrap();
    assert_eq!(column.values, "POINT(1.2 4)POINT(5 6.8)");
    assert_eq!(column.offsets, [0, 12, 12, 12, 24]);
    assert_eq!(column.valid, [true, false, false, true]);
    for offsets in [[0_i32, 1], [0, 9], [-1, 2], [2, 0]] {
        let wrong = TextColumn::map("é", &offsets, |_| true, |text| Some(Cow::Borrowed(text)));
        assert!(wrong.is_err(), "{offsets:?}");
    }
}

proptest! {
    #[test]
    fn rounding_again_changes_nothing(value in any::<i64>(), scale in 0_i8..10, decimals in -5_i8..10) {
        if let Some(rounded) = round_decimal(i128::from(value), scale, decimals) {
            prop_assert_eq!(round_decimal(rounded, scale, decimals), Some(rounded));
            let unit = 10_i128.pow(u32::try_from((scale - decimals).max(0)).unwrap());
            prop_assert!((rounded - i128::from(value)).abs() * 2 <= unit);
        }
    }

    #[test]
    fn cutting_again_changes_nothing(micros in -60_000_000_000_000_000_i64..60_000_000_000_000_000, days in any::<bool>()) {
        for part in [TimePart::Minute, TimePart::Hour, TimePart::Day, TimePart::Week, TimePart::Month, TimePart::Quarter, TimePart::Year] {
            let cut = trunc_micros(micros, part).unwrap();
            prop_assert!(cut <= micros);
            prop_assert_eq!(trunc_micros(cut, part), Some(cut));
            if days && part.is_days() {
                let day = i32::try_from(micros.div_euclid(86_400_000_000)).unwrap();
                prop_assert_eq!(i64::from(trunc_days(day, part).unwrap()) * 86_400_000_000, cut);
            }
        }
    }

    #[test]
    fn rounded_text_has_no_more_decimals(x in -180.0_f64..180.0, y in -90.0_f64..90.0, decimals in 0_u8..8) {
        let rounded = round_wkt(&format!("POINT({x} {y})"), decimals).unwrap();
        let numbers = rounded.trim_start_matches("POINT(").trim_end_matches(')');
        for (number, exact) in numbers.split(' ').zip([x, y]) {
            prop_assert!(number.split_once('.').is_none_or(|(_, fraction)| fraction.len() <= usize::from(decimals)), "{}", rounded);
            let distance = (number.parse::<f64>().unwrap() - exact).abs();
            prop_assert!(distance <= 0.500_001 * 10_f64.powi(-i32::from(decimals)), "{} {}", rounded, exact);
        }
        prop_assert_eq!(round_wkt(&rounded, decimals), Some(rounded));
    }
}
