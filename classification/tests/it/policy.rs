//! Policies: what they let leave.

mod care;
mod laws;
mod table;

use chrono::NaiveDate;
use classification::rules::RuleTable;
use classification::rules::RuleTable::{
    ActualDataClassifications, DataColumnClassification, ExportTables, LongTableDataClassifications,
};
use classification::{
    CatalogColumn, ColumnKind, Outcome, Policy, PolicyContext, PolicyError, Predicate, RuleSet, TableName, Whose,
    unclassified,
};

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
        PolicyContext { today: today(), tenant: Whose::One("default"), pseudonyms: true },
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
        (ExportTables, "t,,,,at,,,,,,,,,,,,,"),
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
    let dropping = with("t,,,,,,,src,,,,,,,,,,", &SOURCES);
    assert_eq!(dropping.rows, is_in("src", &["FUSION"]));
    assert!(dropping.columns.iter().all(|column| column.cell == Predicate::Always));
    assert_eq!(dropping.decisions[1].outcome, Outcome::Restricted);
    let rules: Vec<&str> = dropping.row_rules.iter().map(|row| row.rule.as_str()).collect();
    assert_eq!(
        rules,
        ["data_column_classification: 'speed' is mx: src in ('FUSION'); source 'CITY' is hwc without a valid action: \
          column_restrictions has none for this source"]
    );

    let nulling = with("t,,,,,,,src,,,,null_cell,,,,,,", &SOURCES);
    assert_eq!(nulling.rows, Predicate::Always);
    assert_eq!(nulling.columns[0].cell, Predicate::Always);
    assert_eq!(nulling.columns[1].cell, is_in("src", &["FUSION"]));

    assert_eq!(with("t,,,,,,,src,,,,,,,,,,", &SOURCES[1..]).rows, Predicate::Never);
    assert_eq!(with("t,,,,,,,src,,,,null_cell,,,,,,", &SOURCES[1..]).columns[1].cell, Predicate::Never);
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
    let sourced = (ExportTables, "t,,,,,,,src,metric,value,,,,,,,,");
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
    let unsourced = (ExportTables, "t,,,,,,,,metric,value,,,,,,,,");
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
            PolicyContext { today: today(), tenant: Whose::One(tenant), pseudonyms: true },
        )
    };
    let catalog = [number("id")];
    let listed = (ExportTables, "t,,,,,,,,,,,,,,,,,");
    assert!(tried(&[listed, id], &catalog, "default").is_ok());
    let unknown = tried(&[id], &catalog, "default");
    assert_eq!(unknown, Err(PolicyError::TableUnknown { table: table.clone() }));
    let disabled = tried(&[(ExportTables, "t,false,,,,,,,,,,,,,,,,"), id], &catalog, "default");
    assert_eq!(disabled, Err(PolicyError::TableDisabled { table: table.clone() }));
    let other = tried(&[listed, id], &catalog, "acme");
    assert_eq!(other, Err(PolicyError::OtherTenant { table: table.clone() }));
    let nothing = tried(&[listed], &catalog, "default").unwrap_err();
    assert!(matches!(&nothing, PolicyError::NothingExportable { decisions, .. } if decisions.len() == 1), "{nothing}");
    let strict = (ExportTables, "t,,,,,,,,,,,,true,,,,,");
    let columns = [number("id"), number("new"), number("newer")];
    let unclassified = tried(&[strict, id], &columns, "default").unwrap_err();
    assert_eq!(
        unclassified.to_string(),
        "table 't' is strict and has unclassified columns: new, newer; classify each in data_column_classification"
    );
    assert!(tried(&[strict, id], &catalog, "default").is_ok());
    for (role, line) in [
        ("time_column", "t,,,,gone,,,,,,,,,,,,,"),
        ("source_column", "t,,,,,,,gone,,,,,,,,,,"),
        ("metric_column", "t,,,,,,,,gone,id,,,,,,,,"),
        ("value_column", "t,,,,,,,,id,gone,,,,,,,,"),
        ("tenant_column", "t,,,,,,,,,,gone,,,,,,,"),
    ] {
        let missing = tried(&[(ExportTables, line), id], &catalog, "default");
        assert_eq!(missing, Err(PolicyError::ColumnMissing { table: table.clone(), role, column: "gone".to_owned() }));
    }
}

#[test]
fn a_tenant_sees_its_own_rows() {
    let rules = parse(&[(ExportTables, "t,,,,,,,,,,owner,,,,,,,"), (DataColumnClassification, "t,id,nr,,,")]).unwrap();
    for tenant in ["default", "acme"] {
        let context = PolicyContext { today: today(), tenant: Whose::One(tenant), pseudonyms: true };
        let policy = Policy::compile(&rules, &"t".parse().unwrap(), &[number("id"), text("owner")], context).unwrap();
        assert_eq!(policy.rows, is_in("owner", &[tenant]));
        assert_eq!(names(&policy), ["id"]);
    }
}

#[test]
fn the_hash_follows_the_content_and_nothing_else() {
    let lines = [
        (ExportTables, "t,,,,,,,src,,,,,,,,,,"),
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
