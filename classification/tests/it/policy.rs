//! Policies: what they let leave, compared with the engine cell by cell.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use classification::engine::{MetricAsk, Verdict, decide};
use classification::rules::RuleTable::{
    ActualDataClassifications, DataColumnClassification, ExportTables, LongTableDataClassifications,
};
use classification::rules::{ColumnRule, Rows};
use classification::rules::{DeniedCell, ExportTable, MetricRule, RuleTable, SourceRule};
use classification::{
    CatalogColumn, Code, ColumnKind, Outcome, Policy, PolicyContext, PolicyError, Predicate, RuleSet, TableName,
    unclassified,
};
use proptest::prelude::*;

use crate::rules::parse;

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 19).unwrap()
}

fn number(name: &str) -> CatalogColumn {
    CatalogColumn { name: name.to_owned(), sql_type: "bigint".to_owned(), kind: ColumnKind::Number }
}

fn text(name: &str) -> CatalogColumn {
    CatalogColumn { name: name.to_owned(), sql_type: "text".to_owned(), kind: ColumnKind::Text }
}

fn compile(rules: &RuleSet, catalog: &[CatalogColumn]) -> Result<Policy, PolicyError> {
    Policy::compile(
        rules,
        &"t".parse().unwrap(),
        catalog,
        PolicyContext { today: today(), tenant: "default", pseudonyms: true },
    )
}

fn names(policy: &Policy) -> Vec<&str> {
    policy.columns.iter().map(|column| column.name.as_str()).collect()
}

fn is_in(column: &str, values: &[&str]) -> Predicate {
    Predicate::one_of(column, values.iter().copied())
}

const SOURCES: [(RuleTable, &str); 4] = [
    (ActualDataClassifications, "FUSION,nr"),
    (ActualDataClassifications, "HERE,de"),
    (ActualDataClassifications, "CITY,hwc"),
    (ActualDataClassifications, "BLEND,mx"),
];

#[test]
fn columns_leave_by_their_code_and_kind() {
    let rules = parse(&[
        (ExportTables, "t,,,,at,,,,,,,,,,"),
        (DataColumnClassification, "t,id,nr,,,"),
        (DataColumnClassification, "t,secret,de,,,"),
        (DataColumnClassification, "t,care,hwc,,,"),
        (DataColumnClassification, "t,mixed,mx,,,"),
        (DataColumnClassification, "t,note,nr,,,"),
        (DataColumnClassification, "t,road,nr,data office,names of roads,2026-11-19"),
        (DataColumnClassification, "t,doc,nr,,,"),
        (DataColumnClassification, "t,attested_doc,nr,data office,lane layouts,2027-01-01"),
        (DataColumnClassification, "t,old,nr,data office,names of roads,2026-11-18"),
        (DataColumnClassification, "t,gone,nr,,,"),
        (DataColumnClassification, "t,denied_text,de,data office,no matter,2026-12-31"),
        (DataColumnClassification, "t,picture,nr,,,"),
        (DataColumnClassification, "t,sign,nr,data office,a fixed list,2026-12-31"),
        (DataColumnClassification, "t,net,nr,data office,a fixed list,2026-11-18"),
        (DataColumnClassification, "t,class,nr,,,"),
    ])
    .unwrap();
    let of =
        |name: &str, sql_type: &str, kind| CatalogColumn { name: name.to_owned(), sql_type: sql_type.to_owned(), kind };
    let json = |name: &str| of(name, "jsonb", ColumnKind::Json);
    let catalog = [
        number("id"),
        number("secret"),
        number("care"),
        number("mixed"),
        text("note"),
        text("road"),
        text("old"),
        json("doc"),
        json("attested_doc"),
        json("other_doc"),
        number("at"),
        text("denied_text"),
        of("picture", "bytea", ColumnKind::Binary),
        of("sign", "bytea", ColumnKind::Binary),
        of("net", "inet", ColumnKind::Other),
        of("class", "road_class", ColumnKind::Enum),
    ];
    let policy = compile(&rules, &catalog).unwrap();
    assert_eq!(names(&policy), ["id", "note", "road", "old", "doc", "attested_doc", "sign", "class"]);
    let scanned: Vec<&str> = policy.columns.iter().filter(|c| c.scan).map(|c| c.name.as_str()).collect();
    assert_eq!(scanned, ["note", "old", "doc"]);
    assert_eq!(policy.rows, Predicate::Always);
    let told: Vec<(&str, Outcome, &str)> =
        policy.decisions.iter().map(|d| (d.column.as_str(), d.outcome, d.rule.as_str())).collect();
    assert_eq!(
        told,
        [
            ("id", Outcome::Exported, "data_column_classification: nr"),
            ("secret", Outcome::LeftOut, "data_column_classification: de"),
            (
                "care",
                Outcome::LeftOut,
                "data_column_classification: hwc without a valid action: column_restrictions has none for this column"
            ),
            ("mixed", Outcome::LeftOut, "data_column_classification: mx, but the table has no source_column"),
            ("note", Outcome::Exported, "data_column_classification: nr; searched for personal data"),
            (
                "road",
                Outcome::Exported,
                "data_column_classification: nr; exempt from personal data removal until 2026-11-19"
            ),
            (
                "old",
                Outcome::Exported,
                "data_column_classification: nr; pii_exempt_until 2026-11-18 has passed: searched for personal data"
            ),
            ("doc", Outcome::Exported, "data_column_classification: nr; searched for personal data"),
            (
                "attested_doc",
                Outcome::Exported,
                "data_column_classification: nr; exempt from personal data removal until 2027-01-01"
            ),
            ("other_doc", Outcome::LeftOut, "no classification"),
            ("at", Outcome::LeftOut, "no classification"),
            ("denied_text", Outcome::LeftOut, "data_column_classification: de"),
            (
                "picture",
                Outcome::LeftOut,
                "data_column_classification: nr, but a column of type bytea cannot be searched for personal data: \
                 attest it exempt with pii_exempt_*, or leave it"
            ),
            (
                "sign",
                Outcome::Exported,
                "data_column_classification: nr; exempt from personal data removal until 2026-12-31"
            ),
            (
                "net",
                Outcome::LeftOut,
                "data_column_classification: nr, but pii_exempt_until 2026-11-18 has passed: a column of type inet \
                 cannot be searched for personal data: attest it exempt with pii_exempt_*, or leave it"
            ),
            ("class", Outcome::Exported, "data_column_classification: nr"),
            ("gone", Outcome::LeftOut, "classified, but not in the warehouse"),
        ]
    );
    assert_eq!(unclassified(&rules, &"t".parse().unwrap(), &catalog), ["other_doc", "at"]);
}

#[test]
fn mixed_columns_cut_rows_or_cells_by_the_source() {
    let columns = [(DataColumnClassification, "t,id,nr,,,"), (DataColumnClassification, "t,speed,mx,,,")];
    let catalog = [number("id"), number("speed"), text("src")];
    let with = |table: &'static str, sources: &[(RuleTable, &'static str)]| {
        let lines: Vec<_> = [(ExportTables, table)].iter().chain(&columns).chain(sources).copied().collect();
        compile(&parse(&lines).unwrap(), &catalog).unwrap()
    };
    let dropping = with("t,,,,,,,src,,,,,,,", &SOURCES);
    assert_eq!(dropping.rows, is_in("src", &["FUSION"]));
    assert!(dropping.columns.iter().all(|column| column.cell == Predicate::Always));
    assert_eq!(dropping.decisions[1].outcome, Outcome::Restricted);
    let rules: Vec<&str> = dropping.row_rules.iter().map(|row| row.rule.as_str()).collect();
    assert_eq!(
        rules,
        ["data_column_classification: 'speed' is mx: src in ('FUSION'); source 'CITY' is hwc without a valid action: \
          column_restrictions has none for this source"]
    );

    let nulling = with("t,,,,,,,src,,,,null_cell,,,", &SOURCES);
    assert_eq!(nulling.rows, Predicate::Always);
    assert_eq!(nulling.columns[0].cell, Predicate::Always);
    assert_eq!(nulling.columns[1].cell, is_in("src", &["FUSION"]));

    assert_eq!(with("t,,,,,,,src,,,,,,,", &SOURCES[1..]).rows, Predicate::Never);
    assert_eq!(with("t,,,,,,,src,,,,null_cell,,,", &SOURCES[1..]).columns[1].cell, Predicate::Never);
    assert_ne!(dropping.hash, nulling.hash);
}

#[test]
fn long_tables_lose_the_rows_of_denied_metrics() {
    let metrics = [
        (LongTableDataClassifications, "t,speed,nr"),
        (LongTableDataClassifications, "t,volume,mx"),
        (LongTableDataClassifications, "t,plates,de"),
        (LongTableDataClassifications, "t,device,hwc"),
    ];
    let catalog = [number("id"), text("metric"), number("value"), text("src")];
    let with = |lines: &[(RuleTable, &'static str)]| {
        let lines: Vec<_> = lines.iter().chain(&SOURCES).copied().collect();
        compile(&parse(&lines).unwrap(), &catalog).unwrap()
    };
    let id = (DataColumnClassification, "t,id,nr,,,");
    let value = (DataColumnClassification, "t,value,nr,,,");
    let sourced = (ExportTables, "t,,,,,,,src,metric,value,,,,,");
    let policy = with(&[sourced, id, value, metrics[0], metrics[1], metrics[2], metrics[3]]);
    let ways = Predicate::Any(vec![
        is_in("metric", &["speed"]),
        Predicate::All(vec![is_in("metric", &["volume"]), is_in("src", &["FUSION"])]),
    ]);
    assert_eq!(policy.rows, ways);
    assert_eq!(policy.decisions[2].outcome, Outcome::Restricted);
    // The rows go even where the value does not leave: that a device was measured at all may be what is denied.
    assert_eq!(with(&[sourced, id, metrics[0], metrics[1]]).rows, ways);
    // Without a source column nobody can answer for `mx`.
    let unsourced = (ExportTables, "t,,,,,,,,metric,value,,,,,");
    assert_eq!(with(&[unsourced, id, value, metrics[0], metrics[1]]).rows, is_in("metric", &["speed"]));
    assert_eq!(with(&[unsourced, id, value, metrics[1], metrics[2]]).rows, Predicate::Never);
    assert_eq!(with(&[sourced, id, value]).rows, Predicate::Never);
}

#[test]
fn tables_that_have_no_policy() {
    let id = (DataColumnClassification, "t,id,nr,,,");
    let table: TableName = "t".parse().unwrap();
    let tried = |lines: &[(RuleTable, &str)], catalog: &[CatalogColumn], tenant: &str| {
        Policy::compile(
            &parse(lines).unwrap(),
            &table,
            catalog,
            PolicyContext { today: today(), tenant, pseudonyms: true },
        )
    };
    let catalog = [number("id")];
    let listed = (ExportTables, "t,,,,,,,,,,,,,,");
    assert!(tried(&[listed, id], &catalog, "default").is_ok());
    let unknown = tried(&[id], &catalog, "default");
    assert_eq!(unknown, Err(PolicyError::TableUnknown { table: table.clone() }));
    let disabled = tried(&[(ExportTables, "t,false,,,,,,,,,,,,,"), id], &catalog, "default");
    assert_eq!(disabled, Err(PolicyError::TableDisabled { table: table.clone() }));
    let other = tried(&[listed, id], &catalog, "acme");
    assert_eq!(other, Err(PolicyError::OtherTenant { table: table.clone() }));
    let nothing = tried(&[listed], &catalog, "default").unwrap_err();
    assert!(matches!(&nothing, PolicyError::NothingExportable { decisions, .. } if decisions.len() == 1), "{nothing}");
    let strict = (ExportTables, "t,,,,,,,,,,,,true,,");
    let columns = [number("id"), number("new"), number("newer")];
    let unclassified = tried(&[strict, id], &columns, "default").unwrap_err();
    assert_eq!(
        unclassified.to_string(),
        "table 't' is strict and has unclassified columns: new, newer; classify each in data_column_classification"
    );
    assert!(tried(&[strict, id], &catalog, "default").is_ok());
    for (role, line) in [
        ("time_column", "t,,,,gone,,,,,,,,,,"),
        ("source_column", "t,,,,,,,gone,,,,,,,"),
        ("metric_column", "t,,,,,,,,gone,id,,,,,"),
        ("value_column", "t,,,,,,,,id,gone,,,,,"),
        ("tenant_column", "t,,,,,,,,,,gone,,,,"),
    ] {
        let missing = tried(&[(ExportTables, line), id], &catalog, "default");
        assert_eq!(missing, Err(PolicyError::ColumnMissing { table: table.clone(), role, column: "gone".to_owned() }));
    }
}

#[test]
fn a_tenant_sees_its_own_rows() {
    let rules = parse(&[(ExportTables, "t,,,,,,,,,,owner,,,,"), (DataColumnClassification, "t,id,nr,,,")]).unwrap();
    for tenant in ["default", "acme"] {
        let context = PolicyContext { today: today(), tenant, pseudonyms: true };
        let policy = Policy::compile(&rules, &"t".parse().unwrap(), &[number("id"), text("owner")], context).unwrap();
        assert_eq!(policy.rows, is_in("owner", &[tenant]));
        assert_eq!(names(&policy), ["id"]);
    }
}

#[test]
fn the_hash_follows_the_content_and_nothing_else() {
    let lines = [
        (ExportTables, "t,,,,,,,src,,,,,,,"),
        (DataColumnClassification, "t,id,nr,,,"),
        (DataColumnClassification, "t,speed,mx,,,"),
        (ActualDataClassifications, "A,nr"),
        (ActualDataClassifications, "B,nr"),
    ];
    let catalog = [number("id"), number("speed"), number("src")];
    let policy = compile(&parse(&lines).unwrap(), &catalog).unwrap();
    let mut reversed = lines;
    reversed.reverse();
    assert_eq!(compile(&parse(&reversed).unwrap(), &catalog).unwrap(), policy);
    assert_eq!(policy.hash.len(), 64);
    // Another table's rules do not touch this one's.
    let more: Vec<_> = lines.iter().copied().chain([(DataColumnClassification, "u,id,nr,,,")]).collect();
    assert_eq!(compile(&parse(&more).unwrap(), &catalog).unwrap().hash, policy.hash);
    let changes: [&[(RuleTable, &str)]; 3] = [
        &[(ActualDataClassifications, "C,nr")],
        &[(DataColumnClassification, "t,src,de,,,")],
        &[(DataColumnClassification, "t,gone,de,,,")],
    ];
    for change in changes {
        let changed: Vec<_> = lines.iter().chain(change).copied().collect();
        assert_ne!(compile(&parse(&changed).unwrap(), &catalog).unwrap().hash, policy.hash, "{change:?}");
    }
    let wider = [CatalogColumn { sql_type: "numeric".to_owned(), ..number("id") }, number("speed"), number("src")];
    assert_ne!(compile(&parse(&lines).unwrap(), &wider).unwrap().hash, policy.hash);
    // What manifests written by this version carry: a change of form is a decision, not an accident.
    assert_eq!(policy.hash, "6a3aa6f65410c59b90c4ff0f887667aa8c079df83e0eb84cb515e467d61bd610");
    let again: Policy = serde_json::from_str(&serde_json::to_string(&policy).unwrap()).unwrap();
    assert_eq!(again, policy);
}

fn predicate() -> impl Strategy<Value = Predicate> {
    let leaf = prop_oneof![
        Just(Predicate::Always),
        Just(Predicate::Never),
        ("[ab]", prop::collection::btree_set("[xy]", 0..3))
            .prop_map(|(column, values)| Predicate::In { column, values }),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Predicate::All),
            prop::collection::vec(inner, 0..4).prop_map(Predicate::Any),
        ]
    })
}

/// Random rules of a table with every role, over few names so that they meet.
fn rules() -> impl Strategy<Value = RuleSet> {
    let code = || prop::sample::select(vec![Code::Nr, Code::Nr, Code::Mx, Code::De, Code::Hwc]);
    let some = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        prop::collection::btree_map(prop::sample::select(names), code(), 0..4)
    };
    let table = (any::<bool>(), any::<bool>(), any::<bool>());
    let columns = some(&["id", "value", "speed", "metric", "src"]);
    (table, columns, some(&["A", "B", "C"]), some(&["m1", "m2", "m3"])).prop_map(
        |((sourced, long, nulling), columns, sources, metrics)| {
            let table_name: TableName = "t".parse().unwrap();
            let mut row = ExportTable::new(table_name.clone());
            row.source_column = sourced.then(|| "src".to_owned());
            row.metric_column = long.then(|| "metric".to_owned());
            row.value_column = long.then(|| "value".to_owned());
            row.denied_cell = if nulling { DeniedCell::NullCell } else { DeniedCell::DropRow };
            let mut rows = Rows { export_tables: vec![row], ..Rows::default() };
            let rule = |(column_name, classification)| ColumnRule {
                table_name: table_name.clone(),
                column_name,
                classification,
                pii_exempt_by: None,
                pii_exempt_reason: None,
                pii_exempt_until: None,
            };
            rows.data_column_classification = columns.into_iter().map(rule).collect();
            rows.actual_data_classifications =
                sources.into_iter().map(|(source, classification)| SourceRule { source, classification }).collect();
            let rule = |(metric_name, classification)| MetricRule {
                table_name: table_name.clone(),
                metric_name,
                classification,
            };
            rows.long_table_data_classifications = metrics.into_iter().map(rule).filter(|_| long).collect();
            RuleSet::from_rows(rows).unwrap()
        },
    )
}

proptest! {
    #[test]
    fn the_normal_form_says_the_same(predicate in predicate(), a in prop::option::of("[xyz]"), b in prop::option::of("[xyz]")) {
        let value = |column: &str| if column == "a" { a.as_deref() } else { b.as_deref() };
        let normal = predicate.clone().normalised();
        prop_assert_eq!(normal.admits(&value), predicate.admits(&value));
        prop_assert_eq!(normal.clone().normalised(), normal);
    }

    #[test]
    fn what_leaves_is_what_the_engine_passes(rules in rules()) {
        let table: TableName = "t".parse().unwrap();
        let catalog: Vec<CatalogColumn> = ["id", "value", "speed", "metric", "src"].into_iter().map(number).collect();
        let row = rules.table(&table).unwrap().clone();
        let policy = match compile(&rules, &catalog) {
            Ok(policy) => policy,
            Err(PolicyError::NothingExportable { .. }) => return Ok(()),
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        let names: BTreeSet<&str> = names(&policy).into_iter().collect();
        let code = |column: &str| rules.column(&table, column).map(|rule| rule.classification);
        for column in &catalog {
            if !matches!(code(&column.name), Some(Code::Nr | Code::Mx)) {
                prop_assert!(!names.contains(column.name.as_str()), "{} leaves", column.name);
            }
        }
        for metric in [None, Some("m1"), Some("m2"), Some("m3"), Some("unheard")] {
            for source in [None, Some("A"), Some("B"), Some("C"), Some("unheard"), Some("A ")] {
                let value = |column: &str| match column {
                    "metric" => metric,
                    "src" => source,
                    _ => None,
                };
                let source_code = if row.source_column.is_some() { source.and_then(|source| rules.source(source)) } else { None };
                let metric_ask = if row.metric_column.is_some() {
                    MetricAsk::Metric(metric.and_then(|metric| rules.metric(&table, metric)))
                } else {
                    MetricAsk::NotAsked
                };
                let denied_metric = decide(Some(Code::Nr), metric_ask, source_code) != Verdict::Pass;
                let denied_cell = |column: &str| decide(code(column), MetricAsk::NotAsked, source_code) != Verdict::Pass;
                let dropped = denied_metric
                    || (row.denied_cell == DeniedCell::DropRow && names.iter().any(|column| denied_cell(column)));
                prop_assert_eq!(policy.rows.admits(&value), !dropped, "row {:?} {:?}: {}", metric, source, policy.rows);
                if dropped {
                    continue;
                }
                for column in &policy.columns {
                    let ask = if row.value_column.as_ref() == Some(&column.name) { metric_ask } else { MetricAsk::NotAsked };
                    let passes = decide(code(&column.name), ask, source_code) == Verdict::Pass;
                    prop_assert_eq!(column.cell.admits(&value), passes, "cell {} {:?} {:?}", column.name, metric, source);
                }
            }
        }
    }

    #[test]
    fn a_stricter_code_lets_nothing_more_leave(rules in rules(), which in any::<prop::sample::Index>()) {
        let catalog: Vec<CatalogColumn> = ["id", "value", "speed", "metric", "src"].into_iter().map(number).collect();
        let leaving = |rules: &RuleSet| -> BTreeSet<(String, &str, &str)> {
            let mut cells = BTreeSet::new();
            let Ok(policy) = compile(rules, &catalog) else { return cells };
            for metric in ["m1", "m2", "m3", "unheard"] {
                for source in ["A", "B", "C", "unheard"] {
                    let value = |column: &str| match column {
                        "metric" => Some(metric),
                        "src" => Some(source),
                        _ => None,
                    };
                    let kept = policy.columns.iter().filter(|column| policy.rows.admits(&value) && column.cell.admits(&value));
                    cells.extend(kept.map(|column| (column.name.clone(), metric, source)));
                }
            }
            cells
        };
        // Sources and metrics: what a column's stricter code takes away may have been what dropped the rows.
        let mut rows = rules.rows();
        let (sources, metrics) = (rows.actual_data_classifications.len(), rows.long_table_data_classifications.len());
        if sources + metrics == 0 {
            return Ok(());
        }
        let which = which.index(sources + metrics);
        if which < sources {
            rows.actual_data_classifications[which].classification = Code::De;
        } else {
            rows.long_table_data_classifications[which - sources].classification = Code::De;
        }
        let stricter = RuleSet::from_rows(rows).unwrap();
        prop_assert!(leaving(&stricter).is_subset(&leaving(&rules)));
    }
}
