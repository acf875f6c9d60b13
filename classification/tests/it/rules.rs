//! Rules from files and from rows: what is refused, where it is said to be, and that nothing changes on the way.

use classification::pii::{Entity, Treatment};
use classification::rules::{
    ActionKind, ColumnRule, DeniedCell, ExportTable, FileFormat, MetricRule, PiiRow, Restriction, RestrictionKind,
    Rows, RuleTable, SourceRule, TimeUnit, TypeProfile,
};
use classification::{Code, RuleErrors, RuleFile, RuleSet, TableName};
use proptest::prelude::*;
use serde_json::json;

pub(crate) fn header(table: RuleTable) -> String {
    table.columns().join(",")
}

/// The rules in which these tables have these lines below their headers, and the others none.
pub(crate) fn parse(lines: &[(RuleTable, &str)]) -> Result<RuleSet, RuleErrors> {
    parse_with(lines, "")
}

/// The same with this `pii.toml`.
pub(crate) fn parse_with(lines: &[(RuleTable, &str)], pii: &str) -> Result<RuleSet, RuleErrors> {
    let files: Vec<(String, String)> = RuleTable::ALL
        .into_iter()
        .map(|table| {
            let below: String =
                lines.iter().filter(|(of, _)| *of == table).map(|(_, line)| format!("{line}\n")).collect();
            (table.file_name(), format!("{}\n{below}", header(table)))
        })
        .chain([("pii.toml".to_owned(), pii.to_owned())])
        .collect();
    let files: Vec<RuleFile<'_>> = files.iter().map(|(name, text)| RuleFile { name, text }).collect();
    RuleSet::parse(&files)
}

fn messages(errors: &RuleErrors) -> Vec<String> {
    errors.errors().iter().map(ToString::to_string).collect()
}

#[test]
fn empty_cells_are_defaults() {
    use RuleTable::{ActualDataClassifications, ColumnRestrictions, DataColumnClassification, ExportTables};
    let rules = parse(&[
        (ExportTables, "way,,,,,,,,,,,,,,"),
        (DataColumnClassification, "way,id,,,,"),
        (ActualDataClassifications, "HERE,"),
        (ColumnRestrictions, "way,,id,,,,,"),
    ])
    .unwrap();
    let way: TableName = "way".parse().unwrap();
    assert_eq!(rules.table(&way), Some(&ExportTable::new(way.clone())));
    assert_eq!(rules.column(&way, "id").unwrap().classification, Code::De);
    assert_eq!(rules.source("HERE"), Some(Code::De));
    let restriction = rules.restriction(&way, RestrictionKind::Column, "id").unwrap();
    assert_eq!((restriction.action, &restriction.params), (ActionKind::Drop, &json!({})));
}

#[test]
fn every_error_of_every_file_is_reported_with_its_line() {
    use RuleTable::{
        ActualDataClassifications, ColumnRestrictions, DataColumnClassification, ExportTables,
        LongTableDataClassifications,
    };
    let errors = parse(&[
        (ExportTables, "way,yes,true,false,at,timestamp,UTC,,,,,drop_row,false,,"),
        (ExportTables, "way,,,,,weeks,,,,,,keep,,xlsx,compact"),
        (ExportTables, ".,,,,,,,,,,,,,,"),
        (ExportTables, "sensor,,,,,,,,metric,,,,,,"),
        (ExportTables, "long,,,,,,,,,v,,,,,"),
        (ExportTables, "same,,,,,,,m,m,m,,,,,"),
        (ExportTables, "zone,,,,,,Mars Time,,,,,,,,"),
        (DataColumnClassification, "way,id,public,,,"),
        (DataColumnClassification, "way,,nr,,,"),
        (DataColumnClassification, "way,name,nr,somebody,,2027-01-01"),
        (DataColumnClassification, "way,ref,nr,somebody,why,2027-1-1"),
        (DataColumnClassification, "way,kind,nr,,,"),
        (DataColumnClassification, "public.way,kind,de,,,"),
        (DataColumnClassification, "way,kind"),
        (ActualDataClassifications, "HERE,de"),
        (ActualDataClassifications, "HERE,nr"),
        (ActualDataClassifications, ",nr"),
        (LongTableDataClassifications, "zone,speed,nr"),
        (ColumnRestrictions, "way,column,id,encrypt,{},,,"),
        (ColumnRestrictions, "way,row,id,drop,{},,,"),
        (ColumnRestrictions, "way,column,id2,drop,[1],,,"),
        (ColumnRestrictions, "way,column,id3,drop,{oops,,,"),
        (ColumnRestrictions, "way,column,id4,drop,{},,,next week"),
        (ColumnRestrictions, "zone,metric,speed,drop,{},,,"),
        (ColumnRestrictions, "zone,source,HERE,drop,{},,,"),
        (ColumnRestrictions, "way,column,id5,truncate,{},,,"),
        (ColumnRestrictions, "way,column,id6,generalise,\"{\"\"round\"\": 19}\",,,"),
        (ColumnRestrictions, "way,column,id7,pseudonym,\"{\"\"domain\"\": \"\" \"\"}\",,,"),
    ])
    .unwrap_err();
    told_in_order(
        &messages(&errors),
        &[
            ("actual_data_classifications.csv:3", "HERE was given before, at actual_data_classifications.csv:2"),
            ("actual_data_classifications.csv:4", "source is empty"),
            ("column_restrictions.csv:2", "'encrypt' is not an action: write drop, null, redact"),
            ("column_restrictions.csv:3", "'row' is not a kind of restriction: write column, metric, source"),
            ("column_restrictions.csv:4", "params is not a JSON object"),
            ("column_restrictions.csv:5", "params: not JSON"),
            ("column_restrictions.csv:6", "'next week' is not a date"),
            ("column_restrictions.csv:7", "table 'zone' has no metric_column"),
            ("column_restrictions.csv:8", "table 'zone' has no source_column"),
            ("column_restrictions.csv:9", "params of truncate: missing field `length`"),
            ("column_restrictions.csv:10", "params of generalise: round is 19: write -18 to 18"),
            ("column_restrictions.csv:11", "params of pseudonym: domain is blank"),
            ("data_column_classification.csv:2", "'public' is not a classification: write nr, mx, de or hwc"),
            ("data_column_classification.csv:3", "column_name is empty"),
            ("data_column_classification.csv:4", "an exemption names all three"),
            ("data_column_classification.csv:5", "'2027-1-1' is not a date"),
            ("data_column_classification.csv:7", "way kind was given before, at data_column_classification.csv:6"),
            ("data_column_classification.csv:8", "2 cells where the header has 6"),
            ("export_tables.csv:2", "enabled: 'yes' is not a truth value"),
            ("export_tables.csv:3", "denied_cell: 'keep' is not a way to deny a cell"),
            ("export_tables.csv:3", "format: 'xlsx' is not a file format"),
            ("export_tables.csv:3", "time_unit: 'weeks' is not a time unit"),
            ("export_tables.csv:3", "type_profile: 'compact' is not a type profile"),
            ("export_tables.csv:4", "'.' is not a table name"),
            ("export_tables.csv:5", "metric_column without value_column"),
            ("export_tables.csv:6", "value_column without metric_column"),
            ("export_tables.csv:7", "'m' is both metric_column and value_column"),
            ("export_tables.csv:7", "'m' is both source_column and metric_column"),
            ("export_tables.csv:7", "'m' is both source_column and value_column"),
            ("export_tables.csv:8", "time_zone is not the name of a zone"),
            ("long_table_data_classifications.csv:2", "table 'zone' has no metric_column"),
        ],
    );
}

/// Each message begins with its place and holds its words, and there are no others.
fn told_in_order(messages: &[String], expected: &[(&str, &str)]) {
    for (message, (place, words)) in messages.iter().zip(expected) {
        assert!(
            message.starts_with(&format!("{place}: ")) && message.contains(words),
            "expected '{place}: …{words}…', found '{message}' in\n{}",
            messages.join("\n")
        );
    }
    assert_eq!(messages.len(), expected.len(), "{}", messages.join("\n"));
}

#[test]
fn headers_and_files() {
    let good: Vec<(String, String)> =
        RuleTable::ALL.into_iter().map(|table| (table.file_name(), format!("{}\n", header(table)))).collect();
    let good: Vec<(String, String)> = good.into_iter().chain([("pii.toml".to_owned(), String::new())]).collect();
    let with = |name: &str, text: &str| {
        let mut files: Vec<RuleFile<'_>> = good.iter().map(|(name, text)| RuleFile { name, text }).collect();
        files.retain(|file| file.name != name);
        files.push(RuleFile { name, text });
        RuleSet::parse(&files)
    };
    let sources = "actual_data_classifications.csv";
    for (text, expected) in [
        ("source,classification,owner\n", vec![":1: unknown column 'owner'"]),
        ("source\nHERE\n", vec![":1: column 'classification' is missing"]),
        ("source,classification,source\n", vec![":1: column 'source' stands twice in the header"]),
        ("Source,classification\n", vec![":1: column 'source' is missing", ":1: unknown column 'Source'"]),
        ("", vec![": empty; its header is: source,classification"]),
        (
            "source,classification\nHERE,de\nTOM,\"nr\nX,nr\n",
            vec![": a quote is opened", ":3: classification: 'nr\nX,nr\n' is not"],
        ),
    ] {
        let errors = messages(&with(sources, text).unwrap_err());
        let expected: Vec<String> = expected.into_iter().map(|words| format!("{sources}{words}")).collect();
        assert_eq!(errors.len(), expected.len(), "{text:?}: {errors:?}");
        for (error, words) in errors.iter().zip(&expected) {
            assert!(error.starts_with(words.as_str()), "{text:?}: {error}");
        }
    }
    for text in [
        "\u{feff}source,classification\r\nHERE,de\r\n",
        "classification,source\nde,HERE",
        "source,classification\n\nHERE,de\n\n",
    ] {
        assert_eq!(with(sources, text).unwrap().source("HERE"), Some(Code::De), "{text:?}");
    }
    assert_eq!(
        messages(&with(sources, "source,classification\r\n\r\n\r\n\"A\nB\",nr\r\n\r\nC,x\r\n").unwrap_err()),
        ["actual_data_classifications.csv:7: classification: 'x' is not a classification: write nr, mx, de or hwc"]
    );
    let errors = messages(&with("export_table.csv", "").unwrap_err());
    assert!(errors[0].starts_with("export_table.csv: no table has this name"), "{errors:?}");
    with("README.md", "# the rules\n").unwrap();
    let missing = messages(&RuleSet::parse(&[]).unwrap_err());
    assert_eq!(missing.len(), 6);
    assert!(missing[0].starts_with("actual_data_classifications.csv: missing"), "{missing:?}");
    assert!(missing[5].starts_with("pii.toml: missing; an empty one searches"), "{missing:?}");
    with("Cargo.toml", "[package]\n").unwrap();
    let with_mark = with("pii.toml", "\u{feff}[entities.PHONE]\r\nthreshold = 60\r\n").unwrap();
    assert_eq!(with_mark.pii_text(), "[entities.PHONE]\r\nthreshold = 60\r\n");
    let twice: Vec<RuleFile<'_>> = good.iter().chain(&good[..1]).map(|(name, text)| RuleFile { name, text }).collect();
    assert_eq!(messages(&RuleSet::parse(&twice).unwrap_err()), ["export_tables.csv: given more than once"]);
}

#[test]
fn rows_of_a_database_are_held_to_the_same() {
    let document = json!({
        "export_tables": [{"table_name": "ops.way", "enabled": null, "source_column": "src", "added_later": 1}],
        "data_column_classification": [
            {"table_name": "ops.way", "column_name": "id", "classification": "nr", "pii_exempt_by": null,
             "pii_exempt_reason": null, "pii_exempt_until": null},
            {"table_name": "ops.way", "column_name": "name", "classification": "nr", "pii_exempt_by": "data office",
             "pii_exempt_reason": "road names", "pii_exempt_until": "2027-01-31"}],
        "actual_data_classifications": [{"source": "HERE"}],
        "long_table_data_classifications": [],
        "column_restrictions": [{"table_name": "ops.way", "kind": "source", "name": "HERE", "action": "null",
            "params": {}, "expires_at": "2027-01-31"}],
        "pii_rules": [{"only_row": true, "rules": "[entities.PHONE]\naction = 'null'\n"}],
    });
    let rules = RuleSet::from_json(&document).unwrap();
    let way: TableName = "ops.way".parse().unwrap();
    assert!(rules.table(&way).unwrap().enabled);
    assert_eq!(rules.source("HERE"), Some(Code::De));
    assert_eq!(rules.column(&way, "name").unwrap().exemption().unwrap().by, "data office");
    let restriction = rules.restriction(&way, RestrictionKind::Source, "HERE").unwrap();
    assert_eq!(restriction.expires_at.unwrap().to_string(), "2027-01-31");
    assert_eq!(rules.pii().entity(Entity::Phone).action, Treatment::Null);
    assert_eq!(RuleSet::from_rows(rules.rows()).unwrap(), rules);
    assert_eq!(RuleSet::from_json(&serde_json::to_value(rules.rows()).unwrap()).unwrap(), rules);

    let mut wrong = document.clone();
    wrong["data_column_classification"][0]["classification"] = json!("secret");
    wrong["data_column_classification"][1]["pii_exempt_by"] = json!(null);
    wrong["actual_data_classifications"] = json!([{"source": "HERE"}, {"source": "HERE"}]);
    wrong["export_tables"][0]["source_column"] = json!("");
    wrong["long_table_data_classifications"] = json!(null);
    wrong["column_restrictions"][0]["params"] = json!({"length": 3});
    wrong["pii_rules"] = json!([{"rules": "\n[entities.CARD]\n[entities.PHONE]\nthreshold = 101"}, {"rules": ""}]);
    let errors = messages(&RuleSet::from_json(&wrong).unwrap_err());
    for (error, words) in errors.iter().zip([
        "pii_rules:3: threshold of PHONE is 101",
        "export_tables ops.way: source_column is empty",
        "data_column_classification ops.way id: unknown variant `secret`",
        "data_column_classification ops.way name: an exemption names all three",
        "actual_data_classifications HERE: HERE was given before",
        "long_table_data_classifications (all rows): missing, or not a list",
        "column_restrictions ops.way source HERE: params of null: unknown field `length`",
        "pii_rules (all rows): more than one row",
    ]) {
        assert!(error.starts_with(words), "{error} is not '{words}'");
    }
    assert_eq!(errors.len(), 8, "{errors:?}");
}

#[test]
fn differences_are_told_row_by_row() {
    use RuleTable::{ActualDataClassifications, DataColumnClassification};
    let old = parse(&[
        (DataColumnClassification, "way,id,nr,,,"),
        (DataColumnClassification, "way,name,nr,,,"),
        (ActualDataClassifications, "HERE,de"),
    ])
    .unwrap();
    let new = parse(&[
        (DataColumnClassification, "way,id,de,,,"),
        (DataColumnClassification, "way,name,nr,data office,road names,2027-01-31"),
        (ActualDataClassifications, "FUSION,nr"),
    ])
    .unwrap();
    let told: Vec<String> = old.diff(&new).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "~ data_column_classification way id: classification nr → de",
            "~ data_column_classification way name: pii_exempt_by NULL → data office, pii_exempt_reason NULL → road \
             names, pii_exempt_until NULL → 2027-01-31",
            "+ actual_data_classifications FUSION: classification nr",
            "- actual_data_classifications HERE: classification de",
        ]
    );
    let change = &old.diff(&new)[0];
    assert_eq!(change.before.as_ref().unwrap()["classification"], json!("nr"));
    assert_eq!(change.after.as_ref().unwrap()["classification"], json!("de"));
    assert_eq!(new.diff(&new), []);
}

#[test]
fn what_holds_but_is_probably_not_meant_is_noted() {
    use RuleTable::{
        ActualDataClassifications, ColumnRestrictions, DataColumnClassification, ExportTables,
        LongTableDataClassifications,
    };
    let rules = parse(&[
        (ExportTables, "m,,,,,,,,metric,value,,,,,"),
        (DataColumnClassification, "m,value,mx,,,"),
        (DataColumnClassification, "m,care,hwc,,,"),
        (ActualDataClassifications, "HERE,mx"),
        (LongTableDataClassifications, "m,speed,mx"),
        (LongTableDataClassifications, "gone,speed,nr"),
        (ColumnRestrictions, "m,column,value,drop,{},,,"),
    ])
    .unwrap();
    assert_eq!(
        rules.notes(),
        [
            "column_restrictions m column value: has no effect, because the column is 'mx' and not 'hwc'",
            "actual_data_classifications HERE: 'mx' for a source counts as 'de'",
            "long_table_data_classifications gone speed: export_tables lacks the table",
            "long_table_data_classifications m speed: 'mx' counts as 'de', because the table has no source_column",
            "data_column_classification m value: 'mx' counts as 'de', because the table has no source_column",
        ]
    );
}

fn every_table() -> impl Iterator<Item = RuleTable> {
    RuleTable::ALL.into_iter().chain([RuleTable::PiiRules])
}

fn name() -> impl Strategy<Value = String> {
    // Everything that CSV finds difficult, and letters.
    prop::string::string_regex("[ab,\"\r\n ;'é=#\u{feff}]{1,5}").unwrap()
}

fn table_name() -> impl Strategy<Value = TableName> {
    name().prop_map(|text| text.parse().unwrap())
}

fn code() -> impl Strategy<Value = Code> {
    prop::sample::select(vec![Code::Nr, Code::Mx, Code::De, Code::Hwc])
}

fn day() -> impl Strategy<Value = chrono::NaiveDate> {
    (0_u64..3_650_000).prop_map(|days| {
        let first = chrono::NaiveDate::from_ymd_opt(1, 1, 1).unwrap();
        first.checked_add_days(chrono::Days::new(days)).unwrap()
    })
}

fn export_table() -> impl Strategy<Value = ExportTable> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let words = (
        prop::sample::select(TimeUnit::ALL),
        prop::sample::select(DeniedCell::ALL),
        prop::option::of(prop::sample::select(FileFormat::ALL)),
        prop::option::of(prop::sample::select(TypeProfile::ALL)),
        prop::sample::select(vec!["UTC", "Europe/Berlin", "Etc/GMT+5"]),
    );
    let names = prop::collection::btree_set(name(), 5).prop_map(|names| names.into_iter().collect::<Vec<_>>());
    (table_name(), flags, words, names, any::<u8>()).prop_map(|(table_name, flags, words, names, which)| {
        let name = |position: usize| (which & (1 << position) != 0).then(|| names[position].clone());
        ExportTable {
            table_name,
            enabled: flags.0,
            on_demand: flags.1,
            scheduled: flags.2,
            time_column: name(0),
            time_unit: words.0,
            time_zone: words.4.to_owned(),
            source_column: name(1),
            metric_column: name(2),
            value_column: name(2).map(|_| names[3].clone()),
            tenant_column: name(4),
            denied_cell: words.1,
            strict: flags.3,
            format: words.2,
            type_profile: words.3,
        }
    })
}

fn column_rule() -> impl Strategy<Value = ColumnRule> {
    let exemption = prop::option::of(("[a-z,\" ]{0,4}x", "[a-z\n]{0,4}x", day()));
    (table_name(), name(), code(), exemption).prop_map(|(table_name, column_name, classification, exemption)| {
        let (by, reason, until) =
            exemption.map_or((None, None, None), |(by, why, until)| (Some(by), Some(why), Some(until)));
        ColumnRule {
            table_name,
            column_name,
            classification,
            pii_exempt_by: by,
            pii_exempt_reason: reason,
            pii_exempt_until: until,
        }
    })
}

fn restriction() -> impl Strategy<Value = Restriction> {
    let action = prop_oneof![
        prop::sample::select(vec![ActionKind::Drop, ActionKind::Null, ActionKind::Redact, ActionKind::MaskLast4])
            .prop_map(|action| (action, json!({}))),
        ("[a-z,\" ]{0,4}x", any::<bool>()).prop_map(|(domain, per_day)| {
            let params = if per_day { json!({"domain": domain, "per": "day"}) } else { json!({"domain": domain}) };
            (ActionKind::Pseudonym, params)
        }),
        (-18..=18_i8).prop_map(|round| (ActionKind::Generalise, json!({"round": round}))),
        (0..=32_u8, 0..=128_u8)
            .prop_map(|(v4, v6)| (ActionKind::Generalise, json!({"network_prefix": {"v4": v4, "v6": v6}}))),
        any::<u32>().prop_map(|length| (ActionKind::Truncate, json!({"length": length}))),
    ];
    let kind = prop::sample::select(RestrictionKind::ALL);
    let expires = prop::option::of(day());
    (table_name(), name(), kind, action, prop::option::of("[a-z,]{0,3}x"), expires).prop_map(
        |(table_name, name, kind, (action, params), owner, expires_at)| Restriction {
            table_name,
            kind,
            name,
            action,
            params,
            reason: owner.clone(),
            owner,
            expires_at,
        },
    )
}

fn pii_text() -> impl Strategy<Value = String> {
    let entity = prop::sample::select(Entity::DETECTED.to_vec());
    (entity, 0..=100_u8, "[a-z# \"é]{0,8}")
        .prop_map(|(entity, threshold, said)| format!("# {said}\r\n[entities.{entity}]\nthreshold = {threshold}\n"))
}

/// Valid rules: of rows with one key the first stays, and what a table contradicts goes.
fn rules() -> impl Strategy<Value = RuleSet> {
    let metric = (table_name(), name(), code());
    (
        prop::collection::vec(export_table(), 0..4),
        prop::collection::vec(column_rule(), 0..6),
        prop::collection::btree_map(name(), code(), 0..4),
        prop::collection::vec(metric, 0..4),
        prop::collection::vec(restriction(), 0..4),
        prop::option::of(pii_text()),
    )
        .prop_map(|(tables, columns, sources, metrics, restrictions, pii)| {
            let mut rows = Rows { export_tables: tables, data_column_classification: columns, ..Rows::default() };
            rows.actual_data_classifications =
                sources.into_iter().map(|(source, classification)| SourceRule { source, classification }).collect();
            rows.long_table_data_classifications = metrics
                .into_iter()
                .map(|(table_name, metric_name, classification)| MetricRule { table_name, metric_name, classification })
                .collect();
            rows.column_restrictions = restrictions;
            rows.pii_rules = pii.map(|rules| PiiRow { rules }).into_iter().collect();
            rows.export_tables.sort_by(|a, b| a.table_name.cmp(&b.table_name));
            rows.export_tables.dedup_by(|a, b| a.table_name == b.table_name);
            let key = |rule: &ColumnRule| (rule.table_name.clone(), rule.column_name.clone());
            rows.data_column_classification.sort_by_key(key);
            rows.data_column_classification.dedup_by_key(|rule| key(rule));
            let key = |rule: &MetricRule| (rule.table_name.clone(), rule.metric_name.clone());
            rows.long_table_data_classifications.sort_by_key(key);
            rows.long_table_data_classifications.dedup_by_key(|rule| key(rule));
            let key = |rule: &Restriction| (rule.table_name.clone(), rule.kind, rule.name.clone());
            rows.column_restrictions.sort_by_key(key);
            rows.column_restrictions.dedup_by_key(|rule| key(rule));
            let tables = rows.export_tables.clone();
            let table = |name: &TableName| tables.iter().find(|table| table.table_name == *name);
            let has_metric = |name: &TableName| table(name).is_none_or(|table| table.metric_column.is_some());
            let has_source = |name: &TableName| table(name).is_none_or(|table| table.source_column.is_some());
            rows.long_table_data_classifications.retain(|rule| has_metric(&rule.table_name));
            rows.column_restrictions.retain(|rule| match rule.kind {
                RestrictionKind::Column => true,
                RestrictionKind::Metric => has_metric(&rule.table_name),
                RestrictionKind::Source => has_source(&rule.table_name),
            });
            RuleSet::from_rows(rows).expect("valid rules")
        })
}

proptest! {
    #[test]
    fn written_and_read_again_nothing_has_changed(rules in rules()) {
        let files: Vec<(String, String)> =
            every_table().map(|table| (table.file_name(), rules.to_csv(table))).collect();
        let files: Vec<RuleFile<'_>> = files.iter().map(|(name, text)| RuleFile { name, text }).collect();
        let again = RuleSet::parse(&files);
        prop_assert_eq!(again.as_ref().map_err(ToString::to_string), Ok(&rules));
        prop_assert_eq!(RuleSet::from_json(&serde_json::to_value(rules.rows()).unwrap()).unwrap(), rules);
    }

    #[test]
    fn a_difference_applied_gives_the_new_rules(old in rules(), new in rules()) {
        let mut rows: Vec<(RuleTable, serde_json::Value)> = Vec::new();
        let old_json = serde_json::to_value(old.rows()).unwrap();
        for table in every_table() {
            rows.extend(old_json[table.name()].as_array().unwrap().iter().map(|row| (table, row.clone())));
        }
        for change in old.diff(&new) {
            if let Some(before) = change.before {
                let position = rows.iter().position(|row| *row == (change.table, before.clone()));
                rows.remove(position.expect("what goes was there"));
            }
            rows.extend(change.after.map(|after| (change.table, after)));
        }
        let mut document = json!({});
        for table in every_table() {
            document[table.name()] = rows.iter().filter(|(of, _)| *of == table).map(|(_, row)| row.clone()).collect();
        }
        prop_assert_eq!(RuleSet::from_json(&document).unwrap(), new);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-z,\"\r\n\u{feff}{}.\\PC]{0,80}") {
        for table in every_table() {
            let with_header = format!("{}\n{text}", header(table));
            for text in [&text, &with_header] {
                let _ = RuleSet::parse(&[RuleFile { name: &table.file_name(), text }]);
            }
        }
    }
}
