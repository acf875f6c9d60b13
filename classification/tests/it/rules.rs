//! Rules from files and from rows: what is refused, where it is said to be, and that nothing changes on the way.

mod laws;

use classification::pii::{Entity, Treatment};
use classification::rules::{ActionKind, ExportTable, RestrictionKind, RuleTable};
use classification::{Code, RuleErrors, RuleFile, RuleSet, TableName};
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
        (ExportTables, "way,,,,,,,,,,,,,,,,,"),
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
        (ExportTables, "way,yes,true,false,at,timestamp,UTC,,,,,drop_row,false,,,,,"),
        (ExportTables, "way,,,,,weeks,,,,,,keep,,xlsx,compact,brotli,,"),
        (ExportTables, ".,,,,,,,,,,,,,,,,,"),
        (ExportTables, "sensor,,,,,,,,metric,,,,,,,,,"),
        (ExportTables, "long,,,,,,,,,v,,,,,,,,"),
        (ExportTables, "same,,,,,,,m,m,m,,,,,,,,"),
        (ExportTables, "zone,,,,,,Mars Time,,,,,,,,,,,"),
        (ExportTables, "light,,,,,,,,,,,,,csv,,snappy,,"),
        (ExportTables, "often,,,,,,,,,,,,,,,,weekly,some"),
        (ExportTables, "timed,,,,at,,,,,,,,,,,,when_changed,"),
        (ExportTables, "whose,,,,,,,,,,,,,,,,,all"),
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
            ("export_tables.csv:3", "compression: 'brotli' is not a compression: write zstd, snappy, gzip, none"),
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
            ("export_tables.csv:9", "csv files are not compressed with snappy: write gzip, zstd or none"),
            ("export_tables.csv:10", "scheduled_tenants: 'some' is not a choice of tenants: write default, all"),
            (
                "export_tables.csv:10",
                "whole_export: 'weekly' is not a way to export a whole table: write always, when_changed",
            ),
            ("export_tables.csv:11", "whole_export is for tables without a time_column"),
            ("export_tables.csv:12", "scheduled_tenants is for tables with a tenant_column"),
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

/// Files from before there were the columns are read as if their cells were empty.
#[test]
fn a_file_without_the_columns_that_came_later_is_read() {
    let whole = header(RuleTable::ExportTables);
    let before = whole.strip_suffix(",compression,whole_export,scheduled_tenants").unwrap();
    let row = "way,,,,,,,,,,,,,csv,";
    let of = |text: String| {
        let file = |table: RuleTable| match table {
            RuleTable::ExportTables => (table.file_name(), text.clone()),
            table => (table.file_name(), header(table)),
        };
        let files: Vec<_> =
            RuleTable::ALL.into_iter().map(file).chain([("pii.toml".to_owned(), String::new())]).collect();
        RuleSet::parse(&files.iter().map(|(name, text)| RuleFile { name, text }).collect::<Vec<_>>())
    };
    let rules = of(format!("{before}\n{row}\n")).unwrap();
    assert_eq!(rules, of(format!("{whole}\n{row},,,\n")).unwrap());
    assert!(rules.to_csv(RuleTable::ExportTables).starts_with(&format!("{whole}\n")), "written with the column");
    let set = of(format!("{whole}\n{row},gzip,,\n")).unwrap();
    assert_eq!(set.diff(&rules).len(), 1, "taking the column away takes away what stood in it");
    let without = of(format!("{}\n", before.replace(",type_profile", ""))).unwrap_err();
    assert!(messages(&without)[0].contains("column 'type_profile' is missing"), "{without}");
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
        (ExportTables, "m,,,,,,,,metric,value,,,,,,,,"),
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

#[test]
fn pii_rules_are_rules_with_lines() {
    let errors = parse_with(
        &[],
        "[entities.PHONE]\nthreshold = 101\n[entities.PLATE]\n\n[[patterns]]\nname = 'BADGE'\nregex = 'BG-['\n\
         finds = ['BG-1']\n\n[[patterns]]\nname = 'ANY'\nregex = '[0-9]*'\nfinds = ['12']\n\n\
         [[patterns]]\nname = 'UNTESTED'\nregex = 'U[0-9]+'\n",
    )
    .unwrap_err();
    told_in_order(
        &messages(&errors),
        &[
            ("pii.toml:1", "threshold of PHONE is 101: write 0 to 100"),
            ("pii.toml:3", "PLATE is known by column names only"),
            ("pii.toml:5", "regex of BADGE"),
            ("pii.toml:10", "regex of ANY matches the empty text"),
            ("pii.toml:15", "UNTESTED has no test"),
        ],
    );
    for (text, place) in [("[entities.PHONE\n", "pii.toml:1"), ("\nthresholds = 3\n", "pii.toml:2")] {
        let errors = messages(&parse_with(&[], text).unwrap_err());
        assert!(errors.len() == 1 && errors[0].starts_with(&format!("{place}: ")), "{errors:?}");
    }
    // Texts are compared, so that a comment is a change that somebody answers for.
    let (plain, said) = (parse_with(&[], "").unwrap(), parse_with(&[], "# as agreed\n").unwrap());
    assert_ne!(plain, said);
    let text = |lines: &str| parse_with(&[], &format!("# first\n{lines}# last\n")).unwrap();
    let change = |old: &RuleSet, new: &RuleSet| {
        let changes = old.diff(new);
        assert_eq!((changes.len(), changes[0].key.as_str()), (1, "pii.toml"));
        changes[0].to_string()
    };
    assert_eq!(change(&plain, &said), "+ pii_rules pii.toml\n  + # as agreed");
    assert_eq!(change(&said, &plain), "- pii_rules pii.toml\n  - # as agreed");
    let (old, new) = (text("[entities.PHONE]\nthreshold = 60\n"), text("[entities.PHONE]\nthreshold = 70\n"));
    assert_eq!(change(&old, &new), "~ pii_rules pii.toml\n  - threshold = 60\n  + threshold = 70");
    assert_eq!(old.diff(&new)[0].after, Some(json!({"rules": new.pii_text()})));
}
