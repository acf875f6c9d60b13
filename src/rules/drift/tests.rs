use classification::ColumnKind;
use classification::rules::{ColumnRule, ExportTable, Rows};

use super::*;

fn table() -> TableName {
    "way".parse().unwrap()
}

fn rules(columns: &[(&str, &str)]) -> RuleSet {
    let data_column_classification = columns
        .iter()
        .map(|(name, code)| ColumnRule {
            table_name: table(),
            column_name: (*name).to_owned(),
            classification: code.parse().unwrap(),
            pii_exempt_by: None,
            pii_exempt_reason: None,
            pii_exempt_until: None,
        })
        .collect();
    let export_tables = vec![ExportTable::new(table())];
    RuleSet::from_rows(Rows { export_tables, data_column_classification, ..Rows::default() }).unwrap()
}

fn catalog(columns: &[(&str, &str)]) -> Vec<CatalogColumn> {
    let column = |(name, sql_type): &(&str, &str)| CatalogColumn {
        name: (*name).to_owned(),
        sql_type: (*sql_type).to_owned(),
        kind: ColumnKind::Number,
    };
    columns.iter().map(column).collect()
}

fn observed(columns: &[(&str, &str)]) -> Observed {
    let row = |(name, sql_type): &(&str, &str)| ("way".to_owned(), (*name).to_owned(), (*sql_type).to_owned());
    columns.iter().map(row).collect()
}

#[test]
fn every_way_to_come_apart() {
    let rules = rules(&[("id", "nr"), ("lanes", "nr"), ("speed", "nr")]);
    let known = observed(&[("id", "bigint"), ("lanes", "integer"), ("speed", "real")]);
    // The catalog, and for each drift: kind, column, renamed from.
    type Found = (DriftKind, &'static str, Option<&'static str>);
    type Columns = &'static [(&'static str, &'static str)];
    let cases: &[(Columns, &[Found])] = &[
        (&[("id", "bigint"), ("lanes", "integer"), ("speed", "real")], &[]),
        (
            &[("id", "bigint"), ("lanes", "integer"), ("speed", "real"), ("toll", "text")],
            &[(DriftKind::New, "toll", None)],
        ),
        (&[("id", "bigint"), ("lanes", "integer")], &[(DriftKind::Missing, "speed", None)]),
        (
            &[("id", "bigint"), ("lanes", "integer"), ("velocity", "real")],
            &[(DriftKind::New, "velocity", Some("speed")), (DriftKind::Missing, "speed", None)],
        ),
        // Of another type, two of its type, or two gone: nobody can say.
        (
            &[("id", "bigint"), ("lanes", "integer"), ("velocity", "text")],
            &[(DriftKind::New, "velocity", None), (DriftKind::Missing, "speed", None)],
        ),
        (
            &[("id", "bigint"), ("lanes", "integer"), ("a", "real"), ("b", "real")],
            &[(DriftKind::New, "a", None), (DriftKind::New, "b", None), (DriftKind::Missing, "speed", None)],
        ),
        (&[("id", "bigint"), ("lanes", "text"), ("speed", "real")], &[(DriftKind::Retyped, "lanes", None)]),
    ];
    for (now, expected) in cases {
        let drift = TableDrift::of(&rules, &table(), &catalog(now), &known);
        let found: Vec<(DriftKind, &str, Option<&str>)> =
            drift.columns().iter().map(|it| (it.kind, it.column.as_str(), it.renamed_from.as_deref())).collect();
        assert_eq!(&found, expected, "{now:?}");
    }
}

#[test]
fn a_column_that_never_left_has_no_type_to_compare() {
    let rules = rules(&[("lanes", "nr"), ("gone", "de")]);
    let drift = TableDrift::of(&rules, &table(), &catalog(&[("lanes", "text"), ("new", "text")]), &Observed::default());
    let kinds: Vec<DriftKind> = drift.columns().iter().map(|drift| drift.kind).collect();
    assert_eq!(kinds, [DriftKind::New, DriftKind::Missing]);
    assert_eq!(drift.columns()[0].renamed_from, None, "the type of what is gone is not known");
}

#[test]
fn suggestions_never_loosen_what_a_name_warns_of() {
    let rules = rules(&[("speed", "nr"), ("contact", "nr")]);
    let known = observed(&[("speed", "real"), ("contact", "text")]);
    let now = [("velocity", "real"), ("driver_email", "text"), ("toll", "boolean")];
    let drift = TableDrift::of(&rules, &table(), &catalog(&now), &known);
    for (column, suspected, from, words) in [
        ("velocity", None, Some("speed"), "classify it nr as that was"),
        ("driver_email", Some("EMAIL"), Some("contact"), "classify it de"),
        ("toll", None, None, "de keeps it here"),
        ("speed", None, None, "renamed to 'velocity'"),
    ] {
        let found = drift.columns().iter().find(|drift| drift.column == column).unwrap();
        assert_eq!((found.suspected, found.renamed_from.as_deref()), (suspected, from), "{column}");
        assert!(found.suggestion.contains(words), "{column}: {}", found.suggestion);
    }
}

#[test]
fn the_same_drift_is_logged_once_an_hour() {
    let rules = rules(&[("lanes", "nr")]);
    let drift = |now: &[(&str, &str)]| TableDrift::of(&rules, &table(), &catalog(now), &Observed::default());
    let (none, one, two) =
        (drift(&[("lanes", "text")]), drift(&[("lanes", "text"), ("a", "text")]), drift(&[("b", "text")]));
    let start = Instant::now();
    let logged = Logged::new();
    for (step, (drift, minutes, due)) in [
        (&none, 0, false),
        (&one, 0, true),
        (&one, 1, false),
        (&one, 59, false),
        (&one, 60, true),
        (&two, 61, true),
        (&two, 62, false),
        (&none, 63, false),
        (&two, 64, true),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(logged.is_due(drift, start + Duration::from_secs(60 * minutes)), due, "step {step}");
    }
}

#[test]
fn names_are_words_of_a_shell() {
    for (name, word) in
        [("ops.way-1", "ops.way-1"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("", "''"), ("$x", "'$x'")]
    {
        assert_eq!(quoted(name), word);
    }
}
