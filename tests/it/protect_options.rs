//! Columns that are written otherwise than the warehouse has them: what decides of rows is read beside them, and what
//! is searched is their text, or nothing but coordinates.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use classification::actions::{Action, TimePart};
use classification::rules::TypeProfile;
use classification::{ColumnKind, Predicate};
use data_exporter::error::ErrorCode;
use data_exporter::pipeline::protect::guards;
use data_exporter::warehouse::{ColumnOptions, GeometryForm, Guard, OnTooLong, OnUnrepresentable, ScanSpec};

use crate::support::protect::{care, column, grant_all, hold_back, one_of, protect_scan, scan};
use crate::support::warehouse::TestWarehouse;

fn form(geometry: GeometryForm) -> ColumnOptions {
    ColumnOptions { geometry: Some(geometry), ..ColumnOptions::default() }
}

#[tokio::test]
async fn a_source_that_is_cut_or_reformed_decides_by_what_the_warehouse_has() {
    let mut test = TestWarehouse::new("protect_options_source").await;
    test.run(
        "CREATE TABLE t (id bigint, source text, place text);
         INSERT INTO t VALUES (1, repeat('x', 70000), 'POINT (1 2)'), (2, repeat('x', 65535), 'POINT (1 3)'),
                              (3, repeat('x', 70000), 'POINT (1 3)')",
    )
    .await;
    let mut policy = grant_all(&test, "t").await;
    hold_back(&mut policy, "'source' is mx", one_of("source", &["x".repeat(70_000).as_str()]));
    hold_back(&mut policy, "'place' is mx", one_of("place", &["POINT (1 2)"]));
    let options = BTreeMap::from([
        ("source".to_owned(), ColumnOptions { on_too_long: Some(OnTooLong::Truncate), ..ColumnOptions::default() }),
        ("place".to_owned(), form(GeometryForm::Wkb)),
    ]);
    let guarded = guards(&policy, None, &options).unwrap();
    assert_eq!(guarded, ["place", "source"].map(|name| Guard::Text(name.to_owned())));
    let asked = ScanSpec { guards: guarded, options: options.clone(), ..scan(&policy, None).unwrap() };
    let (batch, _) = protect_scan(&test, &policy, &asked, None).await.unwrap();
    assert_eq!(batch.num_rows(), 1);
    assert_eq!(batch.column(1).as_string::<i32>().value(0).len(), 65_535);

    // What was cut is not taken for what decides: without the guards nothing is.
    let bare = ScanSpec { guards: Vec::new(), ..asked.clone() };
    assert!(protect_scan(&test, &policy, &bare, None).await.unwrap_err().message.contains("do not belong together"));
    // A query that forgot is found out by the guard, though the cut values are alike.
    let all = ScanSpec { rows: Predicate::Always, ..asked };
    assert_eq!(protect_scan(&test, &policy, &all, None).await.unwrap_err().code, ErrorCode::PolicyBreach);
}

#[tokio::test]
async fn texts_that_leave_as_coordinates_are_not_searched_and_all_others_are() {
    let mut test = TestWarehouse::new("protect_options_search").await;
    test.run(
        r#"CREATE TABLE t (shape text, doc jsonb, line text, note text);
         INSERT INTO t VALUES ('POINT (8 50)', '{"type": "Point", "coordinates": [8, 50], "by": "jane@example.com"}',
             'LINESTRING (8 50, 9 51)', 'by jane@example.com')"#,
    )
    .await;
    let mut policy = grant_all(&test, "t").await;
    policy.columns.iter_mut().for_each(|column| column.scan = true);
    let with = |given: &[(&str, ColumnOptions)]| ScanSpec {
        options: given.iter().map(|(name, options)| ((*name).to_owned(), *options)).collect(),
        ..scan(&policy, None).unwrap()
    };
    let wkb = form(GeometryForm::Wkb);
    let asked = with(&[("shape", wkb), ("doc", wkb), ("line", form(GeometryForm::Polyline))]);
    let (batch, report) = protect_scan(&test, &policy, &asked, None).await.unwrap();
    let types: Vec<&DataType> = batch.columns().iter().map(|array| array.data_type()).collect();
    assert_eq!(types, [&DataType::Binary, &DataType::Binary, &DataType::Utf8, &DataType::Utf8]);
    assert_eq!(report.removed.keys().collect::<Vec<_>>(), ["note"]);
    // What else the document held is not in the bytes: one byte, a type, two floats.
    assert_eq!(batch.column(1).as_binary::<i32>().value(0).len(), 21);

    // A document that stays text is searched as a document.
    let (_, report) = protect_scan(&test, &policy, &with(&[("doc", form(GeometryForm::Text))]), None).await.unwrap();
    assert_eq!(report.removed.keys().collect::<Vec<_>>(), ["doc", "note"]);
    // Text that is no geometry never becomes bytes.
    let refused = protect_scan(&test, &policy, &with(&[("note", wkb)]), None).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ValueUnrepresentable);
    assert!(!refused.message.contains("jane"), "{refused}");
}

#[tokio::test]
async fn bytes_that_no_option_makes_coordinates_are_refused_where_text_is_searched() {
    let mut test = TestWarehouse::new("protect_options_bytes").await;
    test.run("CREATE TABLE t (raw bytea, many text[], pair int4range, at interval)").await;
    for name in ["raw", "many", "pair", "at"] {
        let mut policy = grant_all(&test, "t").await;
        column(&mut policy, name).scan = true;
        let refused = protect_scan(&test, &policy, &scan(&policy, None).unwrap(), None).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::TypeUnsupported, "{name}");
        assert!(refused.message.contains(&format!("'{name}'")) && refused.message.contains("searched"), "{refused}");
    }
}

/// Actions on what is not of the type that they are made for: none is carried out on something else instead.
#[tokio::test]
async fn actions_are_refused_on_what_options_make_of_a_column() {
    let mut test = TestWarehouse::new("protect_options_actions").await;
    test.run(
        "CREATE TABLE t (shape text, seen timestamptz, span interval, clock time, key uuid, many int[]);
         INSERT INTO t VALUES ('POINT (8.123 50)', '2026-03-02Z', '1 day', '01:02', gen_random_uuid(), '{1}')",
    )
    .await;
    let text = ColumnOptions { on_unrepresentable: OnUnrepresentable::Text, ..ColumnOptions::default() };
    for (name, action, options, native) in [
        ("shape", Action::RoundWkt { decimals: 1 }, form(GeometryForm::Wkb), false),
        ("shape", Action::Redact, form(GeometryForm::Wkb), false),
        ("seen", Action::DateTrunc { part: TimePart::Day }, text, false),
        ("span", Action::DateTrunc { part: TimePart::Day }, ColumnOptions::default(), false),
        ("clock", Action::DateTrunc { part: TimePart::Hour }, ColumnOptions::default(), true),
        ("many", Action::Round { decimals: 0 }, ColumnOptions::default(), false),
    ] {
        let mut policy = grant_all(&test, "t").await;
        care(&mut policy, name, Predicate::Always, action.clone());
        let mut asked = scan(&policy, None).unwrap();
        asked.options.insert(name.to_owned(), options);
        if native {
            asked.type_profile = TypeProfile::Native;
        }
        let refused = protect_scan(&test, &policy, &asked, None).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::TypeUnsupported, "{action} on {name}: {refused}");
    }

    // NULL is for every type, and a polyline is no well-known text: what cannot be rounded does not stay.
    let mut policy = grant_all(&test, "t").await;
    for name in ["seen", "span", "clock", "key", "many"] {
        care(&mut policy, name, Predicate::Always, Action::Null);
    }
    care(&mut policy, "shape", Predicate::Always, Action::RoundWkt { decimals: 1 });
    assert_eq!(column(&mut policy, "shape").kind, ColumnKind::Text);
    let mut asked = scan(&policy, None).unwrap();
    asked.type_profile = TypeProfile::Native;
    asked.options.insert("shape".to_owned(), form(GeometryForm::Polyline));
    let (batch, report) = protect_scan(&test, &policy, &asked, None).await.unwrap();
    assert_eq!(batch.num_rows(), 1);
    for array in batch.columns() {
        assert_eq!(array.logical_null_count(), 1, "{}", array.data_type());
    }
    assert_eq!(report.actions.values().sum::<u64>(), 6);
}
