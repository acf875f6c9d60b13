//! Laws of rules: written and read again they are the same, and a difference applied gives the new ones.

use classification::pii::Entity;
use classification::rules::{
    ActionKind, ColumnRule, DeniedCell, ExportTable, FileCompression, FileFormat, MetricRule, PiiRow, Restriction,
    RestrictionKind, Rows, RuleTable, ScheduledTenants, SourceRule, TimeUnit, TypeProfile, WholeExport,
};
use classification::{Code, RuleFile, RuleSet, TableName};
use proptest::prelude::*;
use serde_json::json;

use super::header;

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
        prop::option::of(prop::sample::select(FileCompression::ALL)),
        prop::option::of(prop::sample::select(WholeExport::ALL)),
        prop::option::of(prop::sample::select(ScheduledTenants::ALL)),
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
            time_zone: words.7.to_owned(),
            source_column: name(1),
            metric_column: name(2),
            value_column: name(2).map(|_| names[3].clone()),
            tenant_column: name(4),
            denied_cell: words.1,
            strict: flags.3,
            format: words.2,
            type_profile: words.3,
            compression: words.4.filter(|compression| compression.fits(words.2.unwrap_or(FileFormat::Parquet))),
            whole_export: words.5.filter(|_| name(0).is_none()),
            scheduled_tenants: words.6.filter(|_| name(4).is_some()),
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
