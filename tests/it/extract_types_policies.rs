//! What becomes of values that a file's type does not hold, under each policy, and how it is counted.

use arrow::record_batch::RecordBatch;
use classification::rules::TypeProfile;
use data_exporter::error::ErrorCode;
use data_exporter::warehouse::{ColumnOptions, FidelityCount, OnTooLong, OnUnrepresentable, ScanSpec, Warehouse};
use serde_json::{Value, json};

use crate::support::values::column;
use crate::support::warehouse::{TestWarehouse, context};

/// All batches of a scan, and what was counted.
async fn read(test: &TestWarehouse, scan: &ScanSpec) -> Result<(Vec<RecordBatch>, Vec<FidelityCount>), ErrorCode> {
    let fail = |error: data_exporter::warehouse::WarehouseError| error.code();
    let mut stream = test.warehouse.scan(scan, &context("data-exporter test")).await.map_err(fail)?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await.map_err(fail)? {
        batches.push(batch);
    }
    Ok((batches, stream.fidelity()))
}

fn policy(on_unrepresentable: OnUnrepresentable) -> ColumnOptions {
    ColumnOptions { on_unrepresentable, ..ColumnOptions::default() }
}

/// A table of one column, and a scan of it with options.
async fn scan(test: &mut TestWarehouse, sql_type: &str, values: &[&str], options: ColumnOptions) -> ScanSpec {
    test.run(format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v {sql_type})")).await;
    for (id, value) in values.iter().enumerate() {
        test.run(format!("INSERT INTO t VALUES ({id}, {value})")).await;
    }
    let mut scan = test.whole("t").await;
    scan.options.insert("v".to_owned(), options);
    scan.type_profile = TypeProfile::Native;
    scan
}

/// What a policy makes of values: `Err` for an export that fails.
type Outcome = Result<Value, ()>;

/// A type, a value, what `null` and `clamp` make of it with the reason that is counted, and what `text` makes of it.
type Case = (&'static str, &'static str, (Outcome, &'static str), (Outcome, &'static str), Outcome);

#[tokio::test]
async fn a_policy_decides_and_every_event_is_counted() {
    const REASONS: [(&str, &str); 12] = [
        ("infinite timestamp", "the timestamp is infinite"),
        ("late timestamp", "the timestamp is after the year 294246"),
        ("infinite date", "the date is infinite"),
        ("nan", "the number is NaN"),
        ("infinite number", "the number is infinite"),
        ("digits", "the number has more digits than its column's type"),
        ("midnight", "the time is 24:00:00"),
        ("dimensions", "the array has more than one dimension"),
        ("first", "the array's indexes begin elsewhere"),
        ("after", "it is after the year 9999"),
        ("before", "it is before the year 1"),
        ("none", ""),
    ];
    let reason = |short: &str| REASONS.iter().find(|(name, _)| *name == short).unwrap().1;
    let mut test = TestWarehouse::new("types_policies").await;
    test.run("CREATE TYPE stay AS (name text, at timestamptz)").await;
    let last = "253402300799999999";
    let first = "-62135596800000000";
    let late = "9223371244799999999";
    #[rustfmt::skip]
    let cases: Vec<Case> = vec![
        ("timestamptz", "'infinity'", (Ok(Value::Null), "infinite timestamp"), (Ok(json!(last)), "infinite timestamp"), Ok(json!("infinity"))),
        ("timestamptz", "'-infinity'", (Ok(Value::Null), "infinite timestamp"), (Ok(json!(first)), "infinite timestamp"), Ok(json!("-infinity"))),
        ("timestamp", "'294276-12-31 23:59:59'", (Ok(Value::Null), "late timestamp"), (Ok(json!(last)), "late timestamp"), Ok(json!("294276-12-31 23:59:59"))),
        ("timestamp", "'294246-12-31 23:59:59.999999'", (Ok(json!(late)), "none"), (Ok(json!(last)), "after"), Ok(json!("294246-12-31 23:59:59.999999"))),
        ("timestamp", "'4713-01-01 BC'", (Ok(json!("-210863520000000000")), "none"), (Ok(json!(first)), "before"), Ok(json!("4713-01-01 00:00:00 BC"))),
        ("timestamp", "'2024-02-29 12:00:00'", (Ok(json!("1709208000000000")), "none"), (Ok(json!("1709208000000000")), "none"), Ok(json!("2024-02-29 12:00:00"))),
        ("date", "'infinity'", (Ok(Value::Null), "infinite date"), (Ok(json!("2932896")), "infinite date"), Ok(json!("infinity"))),
        ("date", "'-infinity'", (Ok(Value::Null), "infinite date"), (Ok(json!("-719162")), "infinite date"), Ok(json!("-infinity"))),
        ("date", "'10000-01-01'", (Ok(json!("2932897")), "none"), (Ok(json!("2932896")), "after"), Ok(json!("10000-01-01"))),
        ("numeric(5,2)", "'NaN'", (Ok(Value::Null), "nan"), (Err(()), "none"), Ok(json!("NaN"))),
        ("numeric", "'Infinity'", (Ok(Value::Null), "infinite number"), (Err(()), "none"), Ok(json!("Infinity"))),
        ("time", "'24:00:00'", (Ok(Value::Null), "midnight"), (Ok(json!("86399999999")), "midnight"), Ok(json!("24:00:00"))),
        ("int[]", "'{{1,2},{3,4}}'", (Ok(Value::Null), "dimensions"), (Err(()), "none"), Ok(json!("{{1,2},{3,4}}"))),
        ("int[]", "'[0:1]={1,2}'", (Ok(Value::Null), "first"), (Ok(json!(["1", "2"])), "first"), Ok(json!("[0:1]={1,2}"))),
        ("date[]", "'{infinity,1970-01-02}'", (Ok(json!([null, "1"])), "infinite date"), (Ok(json!(["2932896", "1"])), "infinite date"), Ok(json!("{infinity,1970-01-02}"))),
        ("daterange", "'[1970-01-02,infinity)'", (Ok(Value::Null), "infinite date"),
            (Ok(json!({"lower": "1", "upper": "2932896", "lower_inc": "true", "upper_inc": "false", "empty": "false"})), "infinite date"),
            Ok(json!("[1970-01-02,infinity)"))),
        ("datemultirange", "'{[1970-01-02,infinity)}'", (Ok(json!([null])), "infinite date"),
            (Ok(json!([{"lower": "1", "upper": "2932896", "lower_inc": "true", "upper_inc": "false", "empty": "false"}])), "infinite date"),
            Ok(json!("{[1970-01-02,infinity)}"))),
        ("numrange", "'[1,Infinity)'", (Ok(Value::Null), "infinite number"), (Err(()), "none"), Ok(json!("[1,Infinity)"))),
        ("stay", "('x', 'infinity')", (Ok(json!({"name": "x", "at": null})), "infinite timestamp"),
            (Ok(json!({"name": "x", "at": last})), "infinite timestamp"), Ok(json!("(x,infinity)"))),
        ("point", "'(1,2)'", (Err(()), "none"), (Err(()), "none"), Ok(json!("(1,2)"))),
    ];
    for (sql_type, value, null, clamp, text) in cases {
        for (on, (want, why), action) in [
            (OnUnrepresentable::Null, null, "nulled"),
            (OnUnrepresentable::Clamp, clamp, "clamped"),
            (OnUnrepresentable::Text, (text, "none"), ""),
        ] {
            let scan = scan(&mut test, sql_type, &[value, "NULL", value, value], policy(on)).await;
            let found = read(&test, &scan).await;
            let what = format!("{sql_type} {value} {on:?}");
            let Ok(want) = want else {
                assert!(found.is_err(), "{what}");
                continue;
            };
            let (batches, counts) = found.unwrap_or_else(|code| panic!("{what}: {code:?}"));
            assert_eq!(column(&batches, 1), [want.clone(), Value::Null, want.clone(), want], "{what}");
            let counts: Vec<_> =
                counts.iter().map(|c| (c.column.as_str(), c.action.as_str(), c.reason.as_str(), c.count)).collect();
            let expected = if why == "none" { vec![] } else { vec![("v", action, reason(why), 3)] };
            assert_eq!(counts, expected, "{what}");
        }
    }
}

#[tokio::test]
async fn a_number_without_precision_becomes_a_decimal_where_it_is_asked_for() {
    let mut test = TestWarehouse::new("types_decimals").await;
    let values = ["1.5", "-0.001", "'NaN'", "'Infinity'", "1.2345", "1e40"];
    for (on, want) in [
        (OnUnrepresentable::Null, Some(json!(["1.500", "-0.001", null, null, null, null]))),
        (OnUnrepresentable::Error, None),
        (OnUnrepresentable::Clamp, None),
    ] {
        let options = ColumnOptions { decimals: Some(3), ..policy(on) };
        let scan = scan(&mut test, "numeric", &values, options).await;
        let found = read(&test, &scan).await.ok().map(|(batches, _)| Value::Array(column(&batches, 1)));
        assert_eq!(found, want, "{on:?}");
    }
    let options = ColumnOptions { decimals: Some(3), ..policy(OnUnrepresentable::Clamp) };
    let scan = scan(&mut test, "numeric", &["1.2345", "'-Infinity'"], options).await;
    let (batches, counts) = read(&test, &scan).await.unwrap();
    let lowest = format!("-{}.999", "9".repeat(35));
    assert_eq!(column(&batches, 1), [json!("1.235"), json!(lowest)]);
    assert_eq!(counts.iter().map(|count| count.count).sum::<u64>(), 2);
    let shape = test.shape("t").await;
    let said = shape.columns[1].manifest_type_under(TypeProfile::Portable, &scan.options["v"]);
    assert_eq!(said.as_deref(), Some("numeric(38,3)"));
}

#[tokio::test]
async fn texts_that_are_too_long_are_found_and_cut_only_where_a_part_means_something() {
    let mut test = TestWarehouse::new("types_too_long").await;
    let fits = "repeat('x', 65535)";
    // 65,536 bytes, of which the last character takes two.
    let long = "repeat('x', 65534) || 'ü'";
    for (sql_type, value, on, want) in [
        ("text", fits, OnTooLong::Error, Some(Some(65_535))),
        ("text", long, OnTooLong::Error, None),
        ("text", long, OnTooLong::Null, Some(None)),
        ("text", long, OnTooLong::Truncate, Some(Some(65_534))),
        ("varchar", long, OnTooLong::Truncate, Some(Some(65_534))),
        ("json", "to_json(repeat('x', 65533))", OnTooLong::Error, Some(Some(65_535))),
        ("json", "to_json(repeat('x', 65534))", OnTooLong::Null, Some(None)),
        ("jsonb", "to_jsonb(repeat('x', 65533))", OnTooLong::Error, Some(Some(65_535))),
        ("jsonb", "to_jsonb(repeat('x', 65534))", OnTooLong::Null, Some(None)),
        ("varbit", "repeat('1', 65535)::varbit", OnTooLong::Error, Some(Some(65_535))),
        ("varbit", "repeat('1', 65536)::varbit", OnTooLong::Truncate, Some(Some(65_535))),
        ("text", "'LINESTRING(' || repeat('1 2,', 20000) || '1 2)'", OnTooLong::Truncate, None),
        ("text", "' [' || repeat('1,', 40000) || '1]'", OnTooLong::Truncate, None),
        ("xml", "('<a>' || repeat('x', 70000) || '</a>')::xml", OnTooLong::Truncate, None),
        ("int", "1", OnTooLong::Null, None),
        ("jsonb", "'1'", OnTooLong::Truncate, None),
    ] {
        let options = ColumnOptions { on_too_long: Some(on), ..ColumnOptions::default() };
        let scan = scan(&mut test, sql_type, &[value], options).await;
        let found = read(&test, &scan).await;
        let what = format!("{sql_type} {value} {on:?}");
        let Some(want) = want else {
            assert!(found.is_err(), "{what}");
            continue;
        };
        let (batches, counts) = found.unwrap_or_else(|code| panic!("{what}: {code:?}"));
        assert_eq!(column(&batches, 1)[0].as_str().map(str::len), want, "{what}");
        let changed = on != OnTooLong::Error;
        assert_eq!(counts.iter().map(|count| count.count).sum::<u64>(), u64::from(changed), "{what}: {counts:?}");
    }
}

#[tokio::test]
async fn an_option_that_does_not_fit_is_refused_before_a_byte_moves() {
    let mut test = TestWarehouse::new("types_options").await;
    let scan = scan(&mut test, "int", &["1"], ColumnOptions { decimals: Some(2), ..ColumnOptions::default() }).await;
    assert_eq!(read(&test, &scan).await.unwrap_err(), ErrorCode::RulesInvalid);
    let error = test.warehouse.estimate(&scan).await.unwrap_err().to_string();
    assert!(error.contains("column 'v' of 'types_options.t' has type integer, which takes no number"), "{error}");
}
