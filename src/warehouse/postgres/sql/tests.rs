use std::collections::{BTreeMap, BTreeSet};

use classification::ColumnKind;
use classification::rules::TypeProfile;
use proptest::prelude::*;

use super::*;

fn table() -> Table {
    let column = |(name, sql_type, decoding): (&str, &str, Option<Decoding>)| Column {
        name: name.to_owned(),
        sql_type: sql_type.to_owned(),
        kind: ColumnKind::Other,
        native: decoding.clone(),
        decoding,
        enum_labels: Vec::new(),
    };
    let columns = [
        ("id", "bigint", Some(Decoding::Int8)),
        ("source", "text", Some(Decoding::Text)),
        ("at", "timestamp with time zone", Some(Decoding::TimestampTz)),
        ("local", "timestamp without time zone", Some(Decoding::Timestamp)),
        ("day", "date", Some(Decoding::Date)),
        ("odd \" name", "interval", None),
    ];
    Table { name: "ops.way".parse().unwrap(), oid: 1, columns: columns.map(column).into() }
}

fn planned(name: &str, sql_type: &str, cell: Predicate) -> PolicyColumn {
    PolicyColumn {
        name: name.to_owned(),
        sql_type: sql_type.to_owned(),
        kind: ColumnKind::Other,
        cell,
        care: Vec::new(),
        scan: false,
    }
}

fn one_of(column: &str, values: &[&str]) -> Predicate {
    Predicate::In { column: column.to_owned(), values: values.iter().map(|&value| value.to_owned()).collect() }
}

fn spec(columns: Vec<PolicyColumn>, rows: Predicate, slice: Option<TimeSlice>) -> ScanSpec {
    ScanSpec {
        table: "ops.way".parse().unwrap(),
        columns,
        rows,
        slice,
        guards: Vec::new(),
        type_profile: TypeProfile::Portable,
        options: BTreeMap::new(),
    }
}

fn id() -> Vec<PolicyColumn> {
    vec![planned("id", "bigint", Predicate::Always)]
}

#[test]
fn a_scan_names_its_columns_and_nothing_more() {
    let cell = one_of("source", &["it's"]);
    let columns = vec![planned("id", "bigint", Predicate::Always), planned("source", "text", cell)];
    let scan = scan(&spec(columns, Predicate::Never, None), &table()).map(|scan| scan.sql).unwrap();
    assert_eq!(
        scan,
        "SELECT \"id\", CASE WHEN (\"source\"::pg_catalog.text COLLATE pg_catalog.\"C\" IN ('it''s')) THEN \"source\" END \
         AS \"source\" FROM \"ops\".\"way\" WHERE false"
    );
}

#[test]
fn predicates() {
    let table = table();
    let a = || one_of("source", &["a"]);
    let shown = "(\"source\"::pg_catalog.text COLLATE pg_catalog.\"C\" IN ('a'))";
    for (given, want) in [
        (Predicate::Always, "true".to_owned()),
        (Predicate::Never, "false".to_owned()),
        (one_of("source", &[]), "false".to_owned()),
        (one_of("source", &["\0"]), "false".to_owned()),
        (one_of("source", &["a", "nul\0"]), shown.to_owned()),
        (Predicate::All(vec![]), "true".to_owned()),
        (Predicate::Any(vec![]), "false".to_owned()),
        (
            Predicate::All(vec![a(), Predicate::Any(vec![a(), Predicate::Never])]),
            format!("({shown} AND ({shown} OR false))"),
        ),
    ] {
        assert_eq!(predicate(&given, &table).unwrap(), want, "{given:?}");
    }
}

#[test]
fn what_is_not_as_planned_is_an_error() {
    let slice = |column: &str, unit| {
        let start = DateTime::UNIX_EPOCH;
        Some(TimeSlice { column: column.to_owned(), unit, zone: "UTC".to_owned(), start, end: start })
    };
    for (name, spec, want) in [
        ("gone", spec(vec![planned("gone", "text", Predicate::Always)], Predicate::Always, None), "is now missing"),
        (
            "another type",
            spec(vec![planned("id", "integer", Predicate::Always)], Predicate::Always, None),
            "now bigint",
        ),
        (
            "a type that cannot be exported",
            spec(vec![planned("odd \" name", "interval", Predicate::Always)], Predicate::Always, None),
            "has type interval",
        ),
        ("no columns", spec(Vec::new(), Predicate::Always, None), "without columns"),
        ("the policy's column", spec(id(), one_of("gone", &["a"]), None), "'gone' of 'ops.way'"),
        ("the time column", spec(id(), Predicate::Always, slice("gone", TimeUnit::Date)), "'gone' of 'ops.way'"),
        ("no time", spec(id(), Predicate::Always, slice("source", TimeUnit::Timestamp)), "now text"),
        (
            "time as a number",
            spec(id(), Predicate::Always, slice("at", TimeUnit::EpochS)),
            "now timestamp with time zone",
        ),
        ("a number as time", spec(id(), Predicate::Always, slice("id", TimeUnit::Timestamp)), "now bigint"),
    ] {
        let error = scan(&spec, &table()).map(|scan| scan.sql).unwrap_err().to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
}

#[test]
fn time_slices_are_half_open_to_the_microsecond() {
    let start = DateTime::from_timestamp(1_709_251_200, 1).unwrap();
    let end = DateTime::from_timestamp(1_709_337_600, 0).unwrap();
    for (column, unit, want) in [
        (
            "at",
            TimeUnit::Timestamp,
            "(\"at\" >= timestamptz '2024-03-01 00:00:00.000001+00' AND \"at\" < timestamptz '2024-03-02 00:00:00.000000+00')",
        ),
        (
            "local",
            TimeUnit::Timestamp,
            "(\"local\" >= timestamp '2024-03-01 00:00:00.000001' AND \"local\" < timestamp '2024-03-02 00:00:00.000000')",
        ),
        ("id", TimeUnit::EpochS, "(\"id\" >= 1709251201 AND \"id\" < 1709337600)"),
        ("id", TimeUnit::EpochMs, "(\"id\" >= 1709251200001 AND \"id\" < 1709337600000)"),
    ] {
        let slice = TimeSlice { column: column.to_owned(), unit, zone: "UTC".to_owned(), start, end };
        assert_eq!(time(&slice, &table()).unwrap(), want);
    }
    for (seconds, want) in
        [(-62_135_596_801, "0001-12-31 23:59:59.000000+00 BC"), (253_402_300_800, "10000-01-01 00:00:00.000000+00")]
    {
        assert_eq!(written(DateTime::from_timestamp(seconds, 0).unwrap(), "+00"), want);
    }
    for (value, unit, want) in [(0, 10, 0), (1, 10, 1), (10, 10, 1), (-1, 10, 0), (-10, 10, -1), (-11, 10, -1)] {
        assert_eq!(ceil(value, unit), want, "{value}");
    }
}

/// Reads one quoted piece as PostgreSQL does with standard strings: doubled quotes stand for one.
fn unquote(text: &str, quote: char) -> Option<String> {
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        if char == quote && chars.next() != Some(quote) {
            return None;
        }
        out.push(char);
    }
    Some(out)
}

proptest! {
    #[test]
    fn nothing_breaks_out_of_its_quotes(text in "(\\PC|['\"\\\\$;\n\t]|--|/\\*){0,40}") {
        prop_assert_eq!(unquote(&literal(&text), '\''), Some(text.clone()));
        prop_assert_eq!(unquote(&ident(&text), '"'), Some(text));
    }

    #[test]
    fn every_value_of_a_policy_is_in_its_condition(values in prop::collection::btree_set("[a-z' ,)(]{0,6}", 1..5)) {
        let table = table();
        let text = predicate(&Predicate::In { column: "source".to_owned(), values: values.clone() }, &table).unwrap();
        let list = text.split_once(" IN (").and_then(|(_, list)| list.strip_suffix("))")).unwrap();
        let mut found = BTreeSet::new();
        let mut rest = list;
        while !rest.is_empty() {
            // The shortest prefix whose quotes close and that is followed by a separator or the end.
            let end = (2..=rest.len())
                .find(|&end| {
                    rest.is_char_boundary(end)
                        && rest[..end].matches('\'').count().is_multiple_of(2)
                        && rest[..end].ends_with('\'')
                        && (rest.len() == end || rest[end..].starts_with(", "))
                })
                .unwrap();
            found.insert(unquote(&rest[..end], '\'').unwrap());
            rest = rest[end..].strip_prefix(", ").unwrap_or_default();
        }
        prop_assert_eq!(found, values);
    }
}
