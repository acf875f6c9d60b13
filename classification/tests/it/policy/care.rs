//! What `hwc`, a column's name and a missing attestation do to a column, and the words for it.

use classification::actions::Action;
use classification::rules::RuleTable;
use classification::rules::RuleTable::{
    ActualDataClassifications, ColumnRestrictions, DataColumnClassification, ExportTables, LongTableDataClassifications,
};
use classification::{CatalogColumn, ColumnKind, Outcome, Policy, PolicyContext, PolicyError, Predicate, Whose};

use super::{is_in, names, number, text, today};
use crate::rules::parse_with;

fn column(name: &str, sql_type: &str, kind: ColumnKind) -> CatalogColumn {
    CatalogColumn { name: name.to_owned(), sql_type: sql_type.to_owned(), kind }
}

fn with(
    lines: &[(RuleTable, &str)],
    pii: &str,
    catalog: &[CatalogColumn],
    pseudonyms: bool,
) -> Result<Policy, PolicyError> {
    let rules = parse_with(lines, pii).unwrap_or_else(|errors| panic!("{errors}"));
    let context = PolicyContext { today: today(), tenant: Whose::One("default"), pseudonyms };
    Policy::compile(&rules, &"t".parse().unwrap(), catalog, context)
}

/// The decision of a column.
fn said<'a>(policy: &'a Policy, column: &str) -> (Outcome, &'a str) {
    let decision = policy.decisions.iter().find(|decision| decision.column == column).unwrap();
    (decision.outcome, &decision.rule)
}

const ID: (RuleTable, &str) = (DataColumnClassification, "t,id,nr,,,");
const TIMED: (RuleTable, &str) = (ExportTables, "t,,,,at,,,,,,,,,,,,,");
const UNTIMED: (RuleTable, &str) = (ExportTables, "t,,,,,,,,,,,,,,,,,");

/// The column's type and kind, its restriction, the table, whether there is a key; the action, or words of the refusal.
type Case =
    (&'static str, ColumnKind, &'static str, (RuleTable, &'static str), bool, Result<&'static str, &'static str>);

#[test]
fn a_column_that_is_hwc_leaves_with_its_action_or_not_at_all() {
    let catalog = |sql_type: &str, kind| [number("id"), number("at"), column("c", sql_type, kind)];
    use ColumnKind::{Binary, Enum, Json, Number, Text, Time, Uuid};
    let per_day = r#"t,column,c,pseudonym,"{""domain"":""x"",""per"":""day""}",,,"#;
    let forever = r#"t,column,c,pseudonym,"{""domain"":""x""}",,,"#;
    let round = r#"t,column,c,generalise,"{""round"":1}",,,"#;
    let hour = r#"t,column,c,generalise,"{""date_trunc"":""hour""}",,,"#;
    let cases: [Case; 20] = [
        ("text", Text, "t,column,c,redact,{},,,", TIMED, false, Ok("redact")),
        ("text", Text, "t,column,c,mask_last4,{},,,", TIMED, false, Ok("mask_last4")),
        ("bigint", Number, "t,column,c,null,{},,,", TIMED, false, Ok("null")),
        ("double precision", Number, round, TIMED, false, Ok("generalise: round to 1 decimals")),
        ("timestamp with time zone", Time, hour, TIMED, false, Ok("generalise: cut to the hour")),
        ("uuid", Uuid, per_day, TIMED, true, Ok("pseudonym in 'x' for each day")),
        ("uuid", Uuid, forever, UNTIMED, true, Ok("pseudonym in 'x'")),
        ("text", Text, "t,column,c,redact,{},,,2026-11-19", TIMED, false, Ok("redact")),
        ("text", Text, "t,column,c,redact,{},,,2026-11-18", TIMED, false, Err("expires_at is 2026-11-18")),
        ("text", Text, "t,metric,c,redact,{},,,", TIMED, false, Err("column_restrictions has none for this column")),
        ("text", Text, "u,column,c,redact,{},,,", TIMED, false, Err("column_restrictions has none for this column")),
        ("text", Text, "t,column,c,drop,{},,,", TIMED, false, Err("its action is drop")),
        ("bigint", Number, round, TIMED, false, Err("does not fit a column of type bigint")),
        ("date", Time, hour, TIMED, false, Err("does not fit a column of type date")),
        ("bigint", Number, "t,column,c,mask_last4,{},,,", TIMED, false, Err("mask_last4 does not fit")),
        ("jsonb", Json, "t,column,c,redact,{},,,", TIMED, false, Err("redact does not fit")),
        ("road_class", Enum, r#"t,column,c,truncate,"{""length"":2}",,,"#, TIMED, false, Err("does not fit")),
        ("uuid", Uuid, per_day, TIMED, false, Err("needs a key: set EXPORTER_PSEUDONYM_KEY_FILE")),
        ("uuid", Uuid, per_day, UNTIMED, true, Err("for each day needs the table's time_column")),
        ("bytea", Binary, "t,column,c,null,{},,,", TIMED, false, Err("cannot be searched for personal data")),
    ];
    for (sql_type, kind, restriction, table, key, expected) in cases {
        // A restriction of a metric needs a table that has some; this one speaks of another table then.
        let restriction = restriction.replace("t,metric,", "long,metric,");
        let lines = [table, ID, (DataColumnClassification, "t,c,hwc,,,"), (ColumnRestrictions, &restriction)];
        let policy = with(&lines, "", &catalog(sql_type, kind), key).unwrap();
        let (outcome, words) = said(&policy, "c");
        let found = policy.columns.iter().find(|column| column.name == "c");
        match expected {
            Ok(action) => {
                let care: Vec<(Predicate, String)> =
                    found.unwrap().care.iter().map(|care| (care.when.clone(), care.action.to_string())).collect();
                assert_eq!(care, [(Predicate::Always, action.to_owned())], "{restriction}");
                assert_eq!(outcome, Outcome::Restricted);
                let begin = format!("data_column_classification: hwc: {action}");
                assert!(words.starts_with(&begin), "{words}");
                // A redacted text is searched all the same.
                assert_eq!(found.unwrap().scan, kind == Text, "{restriction}");
            }
            Err(why) => {
                assert!(found.is_none(), "{restriction} of {sql_type}");
                assert_eq!(outcome, Outcome::LeftOut);
                assert!(words.starts_with("data_column_classification: hwc") && words.contains(why), "{words}");
            }
        }
    }
}

#[test]
fn actions_of_metrics_and_sources_must_fit_the_column_that_they_change() {
    let catalog = [number("id"), number("at"), text("m"), column("v", "numeric(9,3)", ColumnKind::Number), text("src")];
    let mut lines = vec![
        (ExportTables, "t,,,,at,,,src,m,v,,null_cell,,,,,,"),
        ID,
        (DataColumnClassification, "t,v,nr,,,"),
        (DataColumnClassification, "t,at,mx,,,"),
        (LongTableDataClassifications, "t,flow,nr"),
        (LongTableDataClassifications, "t,battery,hwc"),
        (LongTableDataClassifications, "t,toll,hwc"),
        (LongTableDataClassifications, "t,weight,hwc"),
        (LongTableDataClassifications, "t,volume,mx"),
        (ActualDataClassifications, "FUSION,nr"),
        (ActualDataClassifications, "CITY,hwc"),
        (ActualDataClassifications, "PILOT,hwc"),
        (ColumnRestrictions, r#"t,metric,battery,generalise,"{""round"":1}",,,"#),
        (ColumnRestrictions, "t,metric,toll,mask_last4,{},,,"),
        (ColumnRestrictions, "t,metric,weight,drop,{},,,"),
        // Fits the value, a decimal, and not the column `at`, an integer.
        (ColumnRestrictions, r#"t,source,CITY,generalise,"{""round"":2}",,,"#),
        (ColumnRestrictions, "t,source,PILOT,null,{},,,"),
    ];
    let policy = with(&lines, "", &catalog, false).unwrap();
    let ways = Predicate::Any(vec![
        is_in("m", &["battery", "flow"]),
        Predicate::All(vec![is_in("m", &["volume"]), is_in("src", &["CITY", "FUSION", "PILOT"])]),
    ]);
    assert_eq!(policy.rows, ways);
    let both = |source: &str| Predicate::All(vec![is_in("m", &["volume"]), is_in("src", &[source])]);
    let care = |name: &str| {
        let column = policy.columns.iter().find(|column| column.name == name).unwrap();
        column.care.iter().map(|care| (care.when.clone(), care.action.clone())).collect::<Vec<_>>()
    };
    assert_eq!(
        care("v"),
        [
            (is_in("m", &["battery"]), Action::Round { decimals: 1 }),
            (both("CITY"), Action::Round { decimals: 2 }),
            (both("PILOT"), Action::Null),
        ]
    );
    let at = policy.columns.iter().find(|column| column.name == "at").unwrap();
    assert_eq!(care("at"), [(is_in("src", &["PILOT"]), Action::Null)]);
    assert_eq!(at.cell, is_in("src", &["FUSION", "PILOT"]));
    let rule = &policy.row_rules[0].rule;
    for words in [
        "metric 'toll' is hwc without a valid action: mask_last4 does not fit",
        "'weight' is hwc without a valid action: its action is drop",
    ] {
        assert!(rule.contains(words), "{rule}");
    }
    let (_, words) = said(&policy, "at");
    assert!(
        words.contains("source 'CITY' is hwc without a valid action: generalise: round to 2 decimals does not"),
        "{words}"
    );

    // Sources are asked for the columns and metrics that are mx, and for no others.
    lines.retain(|line| !line.1.starts_with("t,at,mx") && !line.1.ends_with("volume,mx"));
    let policy = with(&lines, "", &catalog, false).unwrap();
    assert!(policy.columns.iter().flat_map(|column| &column.care).all(|care| !care.when.columns().contains("src")));
    // Expired, a metric's rows stay behind.
    let expired = (ColumnRestrictions, r#"t,metric,battery,generalise,"{""round"":1}",,,2026-11-18"#);
    let lines: Vec<_> = lines.into_iter().filter(|line| !line.1.contains("metric,battery")).chain([expired]).collect();
    assert_eq!(with(&lines, "", &catalog, false).unwrap().rows, is_in("m", &["flow"]));
}

#[test]
fn a_name_that_suggests_personal_data_tightens() {
    let attested = "nr,data office,test addresses,2026-11-19";
    let expired = "nr,data office,test addresses,2026-11-18";
    let lines = |code: &str, restriction: Option<&'static str>| {
        let of = |name: &str| format!("t,{name},{code}");
        let rows: Vec<(RuleTable, String)> = ["operator_email", "emailJson", "birth_date", "device_id"]
            .map(|name| (DataColumnClassification, of(name)))
            .into();
        let mut lines: Vec<(RuleTable, String)> = vec![(TIMED.0, TIMED.1.to_owned()), (ID.0, ID.1.to_owned())];
        lines.extend(rows);
        lines.extend(restriction.map(|row| (ColumnRestrictions, row.to_owned())));
        lines
    };
    let catalog = [
        number("id"),
        number("at"),
        text("operator_email"),
        column("emailJson", "jsonb", ColumnKind::Json),
        column("birth_date", "date", ColumnKind::Time),
        column("device_id", "uuid", ColumnKind::Uuid),
    ];
    let compiled = |lines: &[(RuleTable, String)]| {
        let lines: Vec<(RuleTable, &str)> = lines.iter().map(|(table, line)| (*table, line.as_str())).collect();
        with(&lines, "", &catalog, false).unwrap()
    };
    for code in ["nr,,,", expired] {
        let policy = compiled(&lines(code, None));
        assert_eq!(names(&policy), ["id", "birth_date", "device_id"], "{code}");
        assert_eq!(
            said(&policy, "operator_email"),
            (
                Outcome::LeftOut,
                "data_column_classification: nr, but its name suggests EMAIL: attest it exempt with pii_exempt_*, or \
                 classify it hwc with a valid action in column_restrictions"
            )
        );
        assert_eq!(policy.warnings.len(), 2, "{:?}", policy.warnings);
        assert!(
            policy.warnings[0].starts_with("column 'birth_date' leaves as it is, though its name suggests BIRTH_DATE")
        );
    }
    // Answered for: it leaves, unsearched, and nothing warns.
    let policy = compiled(&lines(attested, None));
    assert_eq!(names(&policy), ["id", "operator_email", "emailJson", "birth_date", "device_id"]);
    assert!(policy.columns.iter().all(|column| !column.scan && column.care.is_empty()));
    assert_eq!(policy.warnings, Vec::<String>::new());
    // With an action it leaves changed, and searched; hwc on paper is the same.
    for code in ["nr,,,", "hwc,,,"] {
        let policy = compiled(&lines(code, Some("t,column,operator_email,redact,{},,,")));
        let column = policy.columns.iter().find(|column| column.name == "operator_email").unwrap();
        assert_eq!((column.care.len(), column.scan), (1, true), "{code}");
    }
    assert!(
        !names(&compiled(&lines("de,,,", Some("t,column,operator_email,redact,{},,,")))).contains(&"operator_email")
    );
}

#[test]
fn searching_follows_the_pii_rules() {
    let lines = [TIMED, ID, (DataColumnClassification, "t,note,nr,,,")];
    let catalog = [number("id"), number("at"), text("note")];
    let pii = "[entities.PHONE]\naction = \"mask_last4\"\n";
    let policy = with(&lines, pii, &catalog, false).unwrap();
    assert_eq!((policy.columns[1].scan, policy.pii_rules.as_str()), (true, pii));
    let other = with(&lines, "# nothing\n", &catalog, false).unwrap();
    assert_ne!(policy.hash, other.hash, "the hash covers the PII rules");
    // Rules under which nothing is searched are no part of a policy.
    assert_eq!(with(&lines[..2], pii, &catalog, false).unwrap().pii_rules, "");
    let keyed = "[entities.EMAIL]\naction = \"pseudonym\"\n";
    assert_eq!(names(&with(&lines, keyed, &catalog, true).unwrap()), ["id", "note"]);
    let without = with(&lines, keyed, &catalog, false).unwrap();
    assert_eq!(names(&without), ["id"]);
    assert!(said(&without, "note").1.contains("the PII rules ask for pseudonyms, which need a key"));
}

#[test]
fn exact_movements_of_single_vehicles_warn() {
    let catalog = [
        column("trip_id", "uuid", ColumnKind::Uuid),
        column("lat", "double precision", ColumnKind::Number),
        column("lon", "double precision", ColumnKind::Number),
        column("at", "timestamp with time zone", ColumnKind::Time),
    ];
    let warns = |care: &[&str], restrictions: &[&str]| {
        let code = |name: &str| if care.contains(&name) { "hwc" } else { "nr" };
        let columns: Vec<String> =
            catalog.iter().map(|column| format!("t,{},{},,,", column.name, code(&column.name))).collect();
        let lines: Vec<(RuleTable, &str)> = [TIMED]
            .into_iter()
            .chain(columns.iter().map(|line| (DataColumnClassification, line.as_str())))
            .chain(restrictions.iter().map(|line| (ColumnRestrictions, *line)))
            .collect();
        with(&lines, "", &catalog, true).unwrap().warnings
    };
    let warning = warns(&[], &[]);
    assert!(
        warning.len() == 1 && warning[0].starts_with("'t' looks like the movements of single vehicles"),
        "{warning:?}"
    );
    let lat = r#"t,column,lat,generalise,"{""round"":3}",,,"#;
    let lon = r#"t,column,lon,generalise,"{""round"":3}",,,"#;
    let hour = r#"t,column,at,generalise,"{""date_trunc"":""hour""}",,,"#;
    let per_day = r#"t,column,trip_id,pseudonym,"{""domain"":""trip"",""per"":""day""}",,,"#;
    let forever = r#"t,column,trip_id,pseudonym,"{""domain"":""trip""}",,,"#;
    assert_eq!(warns(&["lat", "lon"], &[lat, lon]), Vec::<String>::new());
    assert_eq!(warns(&["lat", "lon"], &[lat]), Vec::<String>::new(), "half a place is none: the other does not leave");
    assert_eq!(warns(&["at"], &[hour]), Vec::<String>::new());
    assert_eq!(warns(&["trip_id"], &[per_day]), Vec::<String>::new());
    assert_eq!(warns(&["trip_id"], &[]), Vec::<String>::new(), "it does not leave");
    assert_eq!(warns(&["trip_id"], &[forever]).len(), 1, "a pseudonym for ever joins all points of a vehicle");
}
