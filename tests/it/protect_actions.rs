//! What actions make of the columns of a real PostgreSQL, for the rows that they concern.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use classification::Predicate;
use classification::actions::{Action, TimePart};
use data_exporter::warehouse::{TimeSlice, TimeUnit};

use crate::support::protect::{care, column, grant_all, key, one_of, protect, protect_scan, scan, texts_of};
use crate::support::warehouse::TestWarehouse;

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| (*value != "NULL").then(|| (*value).to_owned())).collect()
}

fn pseudonym(domain: &str, per_day: bool) -> Action {
    Action::Pseudonym { domain: domain.to_owned(), per_day }
}

#[tokio::test]
async fn every_type_that_an_action_serves() {
    let mut test = TestWarehouse::new("protect_types").await;
    test.run(
        "CREATE TYPE mood AS ENUM ('ok', 'sad');
         CREATE TABLE t (i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, d numeric(6,2), n numeric, ts timestamp,
           tz timestamptz, day date, t text, c char(6), m mood, ip text, wkt text, u uuid, b bool, j jsonb, raw bytea, clock time);
         INSERT INTO t VALUES (1250, -1250, 1249, 1.25, 13.377149, 1.25, 12345.6789, '2026-11-19 12:34:56.789',
           '2026-11-19 12:34:56.789+02', '2026-11-19', 'B-AB 1234', 'abcdef', 'sad', '192.0.2.77', 'POINT(13.377149 52.5)',
           '00000000-0000-0000-0000-00000000000a', true, '{\"a\": 1}', '\\x01', '12:34:56');
         INSERT INTO t VALUES (32767, 2147483647, 9223372036854775807, 'NaN', 'Infinity', 9999.99, '9.99e20', NULL, NULL,
           NULL, 'ÄÖ🚗', NULL, NULL, 'no address', 'Jane', NULL, NULL, NULL, NULL, NULL);
         INSERT INTO t DEFAULT VALUES",
    )
    .await;
    let round = |decimals| Action::Round { decimals };
    let network = || Action::NetworkPrefix { v4: 24, v6: 48 };
    let hour = || Action::DateTrunc { part: TimePart::Hour };
    let month = || Action::DateTrunc { part: TimePart::Month };
    for (name, action, want) in [
        ("i2", round(-2), ["1300", "NULL"]),
        ("i4", round(-2), ["-1300", "2147483600"]),
        ("i8", round(-1), ["1250", "NULL"]),
        ("f4", round(1), ["1.2", "NaN"]),
        ("f8", round(3), ["13.377", "inf"]),
        ("d", round(1), ["1.30", "NULL"]),
        ("d", round(-1), ["0.00", "NULL"]),
        ("n", round(1), ["12345.7", "999000000000000000000"]),
        ("n", round(-2), ["12300", "999000000000000000000"]),
        ("ts", hour(), ["2026-11-19T12:00:00", "NULL"]),
        ("tz", hour(), ["2026-11-19T10:00:00", "NULL"]),
        ("tz", month(), ["2026-11-01T00:00:00", "NULL"]),
        ("day", month(), ["2026-11-01", "NULL"]),
        ("t", Action::Redact, ["<REDACTED>", "<REDACTED>"]),
        ("t", Action::MaskLast4, ["*****1234", "***"]),
        ("t", Action::Truncate { length: 2 }, ["B-", "ÄÖ"]),
        ("c", Action::MaskLast4, ["**cdef", "NULL"]),
        ("m", Action::Redact, ["<REDACTED>", "NULL"]),
        ("ip", network(), ["192.0.2.0/24", "NULL"]),
        ("wkt", Action::RoundWkt { decimals: 2 }, ["POINT(13.38 52.5)", "NULL"]),
        ("b", Action::Null, ["NULL", "NULL"]),
        ("j", Action::Null, ["NULL", "NULL"]),
        ("raw", Action::Null, ["NULL", "NULL"]),
        ("clock", Action::Null, ["NULL", "NULL"]),
        ("f8", Action::Null, ["NULL", "NULL"]),
        ("t", Action::Null, ["NULL", "NULL"]),
    ] {
        let mut policy = grant_all(&test, "t").await;
        let before = protect(&test, &policy).await.unwrap().0;
        care(&mut policy, name, Predicate::Always, action.clone());
        let (after, report) = protect(&test, &policy).await.unwrap();
        assert_eq!(texts_of(&after, name), some(&[want[0], want[1], "NULL"]), "{name}: {action}");
        let there = before.column_by_name(name).unwrap();
        assert_eq!(report.actions[name], (there.len() - there.null_count()) as u64, "{name}: {action}");
        assert_eq!(after.column_by_name(name).unwrap().data_type(), there.data_type());
        for other in policy.columns.iter().filter(|column| column.name != name) {
            assert_eq!(after.column_by_name(&other.name), before.column_by_name(&other.name), "{name}: {action}");
        }
    }
    // What is not a label any more is not listed as one.
    let mut policy = grant_all(&test, "t").await;
    let labels = |batch: &arrow::record_batch::RecordBatch| {
        batch.schema().field_with_name("m").unwrap().metadata().contains_key("enum_labels")
    };
    assert!(labels(&protect(&test, &policy).await.unwrap().0));
    care(&mut policy, "m", Predicate::Always, Action::Redact);
    assert!(!labels(&protect(&test, &policy).await.unwrap().0));
}

#[tokio::test]
async fn pseudonyms_let_joins_survive() {
    let mut test = TestWarehouse::new("protect_join").await;
    test.run(
        "CREATE TABLE trips (id bigint, vehicle text, device uuid);
         CREATE TABLE stops (vehicle varchar(20), trip bigint, device uuid);
         INSERT INTO trips SELECT g, 'V' || g % 40, md5(g::text)::uuid FROM generate_series(1, 200) g;
         INSERT INTO stops SELECT 'V' || g % 40, g, md5(g::text)::uuid FROM generate_series(1, 200, 2) g;
         INSERT INTO stops VALUES (NULL, NULL, NULL)",
    )
    .await;
    let mut trips = grant_all(&test, "trips").await;
    let mut stops = grant_all(&test, "stops").await;
    for (policy, names) in [(&mut trips, ["id", "vehicle", "device"]), (&mut stops, ["trip", "vehicle", "device"])] {
        for (name, domain) in names.into_iter().zip(["trip", "vehicle", "device"]) {
            care(policy, name, Predicate::Always, pseudonym(domain, false));
        }
    }
    let plain = protect(&test, &grant_all(&test, "trips").await).await.unwrap().0;
    let (trips, stops) = (protect(&test, &trips).await.unwrap().0, protect(&test, &stops).await.unwrap().0);
    for (ours, theirs, distinct) in [("id", "trip", 100), ("vehicle", "vehicle", 20), ("device", "device", 100)] {
        let ours: std::collections::BTreeSet<_> = texts_of(&trips, ours).into_iter().collect();
        let theirs: std::collections::BTreeSet<_> = texts_of(&stops, theirs).into_iter().flatten().map(Some).collect();
        assert_eq!((theirs.len(), ours.intersection(&theirs).count()), (distinct, distinct));
        assert!(texts_of(&plain, "vehicle").iter().all(|value| !ours.contains(value)));
    }
    assert!(trips.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().iter().all(|id| *id > 200));
    assert!(
        texts_of(&trips, "device").iter().flatten().all(|id| uuid::Uuid::parse_str(id).unwrap().get_version_num() == 8)
    );
    assert_eq!(texts_of(&stops, "trip")[100], None);
}

#[tokio::test]
async fn daily_pseudonyms_follow_the_day_of_the_slice_s_zone() {
    let mut test = TestWarehouse::new("protect_day").await;
    test.run(
        "CREATE TABLE t (n int, tz timestamptz, ts timestamp, day date, s bigint, ms numeric, trip text);
         INSERT INTO t SELECT n, at, at AT TIME ZONE 'Europe/Berlin', (at AT TIME ZONE 'Europe/Berlin')::date,
           floor(extract(epoch FROM at)), extract(epoch FROM at) * 1000, 'T1'
         FROM unnest('{2026-03-28 22:59:59.5+00,2026-03-28 23:00:00+00,2026-03-29 21:59:59+00,2026-03-29 22:00:00+00}'::timestamptz[])
           WITH ORDINALITY AS u (at, n)",
    )
    .await;
    // Berlin's 29 March has 23 hours.
    let days = ["2026-03-28", "2026-03-29", "2026-03-29", "2026-03-30"];
    let utc = ["2026-03-28", "2026-03-28", "2026-03-29", "2026-03-29"];
    for (name, unit, zone, days) in [
        ("tz", TimeUnit::Timestamp, "Europe/Berlin", days),
        ("ts", TimeUnit::Timestamp, "Europe/Berlin", days),
        ("day", TimeUnit::Date, "Europe/Berlin", days),
        ("s", TimeUnit::EpochS, "Europe/Berlin", days),
        ("ms", TimeUnit::EpochMs, "Europe/Berlin", days),
        ("tz", TimeUnit::Timestamp, "UTC", utc),
        ("ms", TimeUnit::EpochMs, "UTC", utc),
    ] {
        let slice = TimeSlice {
            column: name.to_owned(),
            unit,
            zone: zone.to_owned(),
            start: "2026-03-01T00:00:00Z".parse().unwrap(),
            end: "2026-04-01T00:00:00Z".parse().unwrap(),
        };
        let mut policy = grant_all(&test, "t").await;
        care(&mut policy, "trip", Predicate::Always, pseudonym("trip", true));
        let (batch, _) =
            protect_scan(&test, &policy, &scan(&policy, Some(slice)).unwrap(), Some(&key())).await.unwrap();
        let want: Vec<_> = days.iter().map(|day| Some(key().hex("trip", Some(day), b"T1"))).collect();
        assert_eq!(texts_of(&batch, "trip"), want, "{name} in {zone}");
    }
}

#[tokio::test]
async fn an_action_concerns_the_rows_of_its_metric_or_source() {
    let mut test = TestWarehouse::new("protect_when").await;
    test.run(
        "CREATE TABLE t (metric char(12), source text, value float8, note text);
         INSERT INTO t VALUES ('speed', 'FUSION', 1.234, 'plain'), ('battery', 'FUSION', 57.7, 'mail a@example.com'),
           ('battery', 'HERE', 12.3, 'B-AB 1234'), ('speed', NULL, NULL, 'x'), ('speed', 'HERE', 5.55, NULL)",
    )
    .await;
    let mut policy = grant_all(&test, "t").await;
    care(&mut policy, "value", one_of("metric", &["battery"]), Action::Round { decimals: -1 });
    care(&mut policy, "value", one_of("source", &["HERE"]), Action::Round { decimals: 0 });
    care(&mut policy, "note", one_of("source", &["HERE"]), Action::MaskLast4);
    column(&mut policy, "note").scan = true;
    column(&mut policy, "note").cell = one_of("source", &["FUSION", "HERE"]);
    // The column that decides is changed itself, after it has decided.
    care(&mut policy, "source", Predicate::Always, Action::Redact);
    let (batch, report) = protect(&test, &policy).await.unwrap();
    assert_eq!(texts_of(&batch, "value"), some(&["1.234", "60.0", "10.0", "NULL", "6.0"]));
    assert_eq!(texts_of(&batch, "note"), some(&["plain", "mail <EMAIL>", "*****1234", "NULL", "NULL"]));
    assert_eq!(texts_of(&batch, "source"), some(&["<REDACTED>", "<REDACTED>", "<REDACTED>", "NULL", "<REDACTED>"]));
    assert_eq!(report.actions, [("note", 1), ("source", 4), ("value", 4)].map(|(name, n)| (name.to_owned(), n)).into());
    assert_eq!(report.removed["note"]["EMAIL"], 1);
}

#[tokio::test]
async fn nothing_of_a_value_is_left_behind_a_null() {
    let mut test = TestWarehouse::new("protect_behind").await;
    test.run("CREATE TABLE t (a text, n bigint, raw bytea, w text); INSERT INTO t VALUES ('secret', 77, '\\x7365', 'Jane'), ('b', 1, '\\x01', 'x')").await;
    let mut policy = grant_all(&test, "t").await;
    for name in ["a", "n", "raw"] {
        care(&mut policy, name, one_of("a", &["secret"]), Action::Null);
    }
    care(&mut policy, "w", Predicate::Always, Action::RoundWkt { decimals: 1 });
    let (batch, _) = protect(&test, &policy).await.unwrap();
    assert_eq!(batch.column(0).as_string::<i32>().value_data(), b"b");
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().values().iter().filter(|value| **value == 77).count(), 0);
    assert_eq!(batch.column(2).as_binary::<i32>().value_data(), [1]);
    assert!(batch.column(3).as_string::<i32>().value_data().is_empty());
    assert_eq!(batch.column(3).data_type(), &DataType::Utf8);
}
