//! Laws of policies: a stricter rule never lets more leave, time and missing keys only tighten, order does not matter.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use classification::actions::Action;
use classification::rules::{
    ActionKind, ColumnRule, DeniedCell, ExportTable, MetricRule, PiiRow, Restriction, RestrictionKind, Rows, SourceRule,
};
use classification::{
    CatalogColumn, Code, ColumnKind, Policy, PolicyContext, PolicyError, Predicate, RuleSet, TableName, Whose,
};
use proptest::prelude::*;
use serde_json::json;

use super::{number, text, today};

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

/// Numbers, a column whose name suggests personal data, one that is searched, and one that cannot be.
fn catalog() -> Vec<CatalogColumn> {
    let of =
        |name: &str, sql_type: &str, kind| CatalogColumn { name: name.to_owned(), sql_type: sql_type.to_owned(), kind };
    vec![
        number("id"),
        of("value", "double precision", ColumnKind::Number),
        of("speed", "double precision", ColumnKind::Number),
        text("note"),
        text("email"),
        of("picture", "bytea", ColumnKind::Binary),
        text("metric"),
        text("src"),
    ]
}

const METRICS: [&str; 3] = ["m1", "m2", "m3"];
const SOURCES: [&str; 3] = ["A", "B", "C"];

fn t() -> TableName {
    "t".parse().unwrap()
}

fn day(offset: u64) -> NaiveDate {
    // Two days before today, today, two days after it, and between.
    today().checked_sub_days(Days::new(2)).unwrap().checked_add_days(Days::new(offset)).unwrap()
}

fn code() -> impl Strategy<Value = Code> {
    prop::sample::select(vec![Code::Nr, Code::Nr, Code::Mx, Code::De, Code::Hwc, Code::Hwc])
}

fn column_rule(column_name: String, classification: Code, until: Option<u64>) -> ColumnRule {
    ColumnRule {
        table_name: t(),
        column_name,
        classification,
        pii_exempt_by: until.map(|_| "data office".to_owned()),
        pii_exempt_reason: until.map(|_| "invented".to_owned()),
        pii_exempt_until: until.map(day),
    }
}

fn restriction() -> impl Strategy<Value = Restriction> {
    let names = [&["id", "value", "speed", "note", "email", "picture", "src"][..], &METRICS[..], &SOURCES[..]];
    let name = (0..names.len()).prop_flat_map(move |kind| {
        prop::sample::select(names[kind].to_vec()).prop_map(move |name| (RestrictionKind::ALL[kind], name.to_owned()))
    });
    let action = prop::sample::select(vec![
        (ActionKind::Drop, json!({})),
        (ActionKind::Null, json!({})),
        (ActionKind::Redact, json!({})),
        (ActionKind::Generalise, json!({"round": 1})),
        (ActionKind::Generalise, json!({"round": -1})),
        (ActionKind::Pseudonym, json!({"domain": "x"})),
        (ActionKind::Pseudonym, json!({"domain": "x", "per": "day"})),
    ]);
    (name, action, prop::option::of(0..5_u64)).prop_map(|((kind, name), (action, params), expires)| Restriction {
        table_name: t(),
        kind,
        name,
        action,
        params,
        owner: None,
        reason: None,
        expires_at: expires.map(day),
    })
}

/// Random rules of one table, over few names so that they meet.
fn rules() -> impl Strategy<Value = Rows> {
    let names: Vec<String> = catalog().into_iter().map(|column| column.name).collect();
    let columns = prop::collection::btree_map(prop::sample::select(names), (code(), prop::option::of(0..5_u64)), 2..8);
    let some = |names: [&str; 3]| {
        prop::collection::btree_map(prop::sample::select(names.map(str::to_owned).to_vec()), code(), 0..4)
    };
    let restrictions = prop::collection::vec(restriction(), 0..8);
    let pii = prop::option::of(prop::sample::select(vec!["# own\n", "[entities.EMAIL]\naction = \"pseudonym\"\n"]));
    (any::<[bool; 4]>(), columns, some(SOURCES), some(METRICS), restrictions, pii).prop_map(
        |([sourced, long, nulling, timed], columns, sources, metrics, restrictions, pii)| {
            let mut row = ExportTable::new(t());
            row.source_column = sourced.then(|| "src".to_owned());
            row.metric_column = long.then(|| "metric".to_owned());
            row.value_column = long.then(|| "value".to_owned());
            row.time_column = timed.then(|| "id".to_owned());
            row.denied_cell = if nulling { DeniedCell::NullCell } else { DeniedCell::DropRow };
            let kept: BTreeMap<_, _> =
                restrictions.into_iter().map(|rule| ((rule.kind, rule.name.clone()), rule)).collect();
            let metric = |(metric_name, classification)| MetricRule { table_name: t(), metric_name, classification };
            Rows {
                export_tables: vec![row],
                data_column_classification: columns
                    .into_iter()
                    .map(|(name, (code, until))| column_rule(name, code, until))
                    .collect(),
                actual_data_classifications: sources
                    .into_iter()
                    .map(|(source, classification)| SourceRule { source, classification })
                    .collect(),
                long_table_data_classifications: metrics.into_iter().filter(|_| long).map(metric).collect(),
                column_restrictions: kept
                    .into_values()
                    .filter(|rule| match rule.kind {
                        RestrictionKind::Column => true,
                        RestrictionKind::Metric => long,
                        RestrictionKind::Source => sourced,
                    })
                    .collect(),
                pii_rules: pii.map(|rules| PiiRow { rules: rules.to_owned() }).into_iter().collect(),
            }
        },
    )
}

fn compile(rows: &Rows, today: NaiveDate, pseudonyms: bool) -> Option<Policy> {
    let rules = RuleSet::from_rows(rows.clone()).unwrap_or_else(|errors| panic!("{errors}"));
    match Policy::compile(&rules, &t(), &catalog(), PolicyContext { today, tenant: Whose::One("default"), pseudonyms })
    {
        Ok(policy) => Some(policy),
        Err(PolicyError::NothingExportable { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

/// Whether a cell leaves that did not leave, or with less done to it, or without the search that it had. Says which.
///
/// One thing is no loosening, although more rows leave: where an `mx` column does not leave any more, nothing of it
/// is denied row by row, and the other columns' rows are not in question. Only the rows of before are compared then.
fn looser(before: Option<&Policy>, after: Option<&Policy>) -> Option<String> {
    let after = after?;
    let Some(before) = before else { return Some("columns leave where none did".to_owned()) };
    let gone_rows = before.row_rules.iter().any(|rule| {
        before.columns.iter().any(|column| {
            rule.rule.contains(&format!("'{}' is mx", column.name))
                && !after.columns.iter().any(|other| other.name == column.name)
        })
    });
    for metric in METRICS.iter().chain(&["unheard"]).copied().map(Some).chain([None]) {
        for source in SOURCES.iter().chain(&["unheard"]).copied().map(Some).chain([None]) {
            let value = |column: &str| match column {
                "metric" => metric,
                "src" => source,
                _ => None,
            };
            if !after.rows.admits(&value) || (gone_rows && !before.rows.admits(&value)) {
                continue;
            }
            for column in after.columns.iter().filter(|column| column.cell.admits(&value)) {
                let cell = format!("{} for {metric:?} and {source:?}", column.name);
                let old = before.columns.iter().find(|old| old.name == column.name);
                let Some(old) = old.filter(|old| before.rows.admits(&value) && old.cell.admits(&value)) else {
                    return Some(format!("{cell} leaves and did not"));
                };
                let done = |care: &[classification::Care]| -> Vec<Action> {
                    care.iter().filter(|care| care.when.admits(&value)).map(|care| care.action.clone()).collect()
                };
                let (was, is) = (done(&old.care), done(&column.care));
                if was.iter().any(|action| !is.contains(action)) {
                    return Some(format!("{cell}: {was:?} was done, and {is:?} is"));
                }
                if old.scan && !column.scan {
                    return Some(format!("{cell} was searched"));
                }
            }
        }
    }
    None
}

/// Something that makes rules stricter, and its name. `None` where there is nothing of the kind.
fn tighten(rows: &mut Rows, what: usize, which: prop::sample::Index) -> Option<String> {
    fn one<T>(rows: &mut [T], which: prop::sample::Index) -> Option<&mut T> {
        if rows.is_empty() { None } else { Some(which.get_mut(rows)) }
    }
    // A code and what it becomes when a further rule is OR-ed to it and takes all of it in.
    let stricter = |code: Code, to: Code| (code == Code::Nr || to == Code::De).then_some(to);
    let to = [Code::Hwc, Code::Mx, Code::De][what % 3];
    match what / 3 {
        0 => {
            let rule = one(&mut rows.data_column_classification, which)?;
            rule.classification = stricter(rule.classification, to)?;
            Some(format!("column {} becomes {to}", rule.column_name))
        }
        1 => {
            let rule = one(&mut rows.actual_data_classifications, which)?;
            rule.classification = stricter(rule.classification, to)?;
            Some(format!("source {} becomes {to}", rule.source))
        }
        2 => {
            let rule = one(&mut rows.long_table_data_classifications, which)?;
            rule.classification = stricter(rule.classification, to)?;
            Some(format!("metric {} becomes {to}", rule.metric_name))
        }
        3 => {
            let rule = one(&mut rows.data_column_classification, which)?;
            rule.pii_exempt_until?;
            match what % 3 {
                0 => *rule = column_rule(rule.column_name.clone(), rule.classification, None),
                _ => rule.pii_exempt_until = Some(day(1)),
            }
            Some(format!("nobody answers for {}", rule.column_name))
        }
        4 => {
            let rule = one(&mut rows.column_restrictions, which)?;
            match what % 3 {
                0 => rule.expires_at = Some(day(1)),
                1 => (rule.action, rule.params) = (ActionKind::Drop, json!({})),
                _ => {
                    let gone = which.index(rows.column_restrictions.len());
                    rows.column_restrictions.remove(gone);
                }
            }
            Some("a restriction ends".to_owned())
        }
        5 => {
            // A restriction of something that asks for no care changes nothing, and one of something new neither.
            let more = |kind, name: &str| Restriction {
                table_name: t(),
                kind,
                name: name.to_owned(),
                action: ActionKind::Null,
                params: json!({}),
                owner: None,
                reason: None,
                expires_at: None,
            };
            let name = rows.data_column_classification.iter().find(|rule| {
                let taken = rows.column_restrictions.iter();
                rule.classification == Code::Nr
                    && rule.column_name != "email"
                    && !taken.clone().any(|other| other.name == rule.column_name)
            })?;
            rows.column_restrictions.push(more(RestrictionKind::Column, &name.column_name));
            Some("a restriction of what is nr".to_owned())
        }
        6 => {
            rows.pii_rules = vec![PiiRow { rules: "[entities.EMAIL]\naction = \"pseudonym\"\n".to_owned() }];
            Some("searching needs a key".to_owned())
        }
        7 => {
            rows.export_tables[0].time_column = None;
            Some("no time column".to_owned())
        }
        _ => {
            rows.export_tables[0].source_column.as_ref()?;
            rows.export_tables[0].source_column = None;
            rows.column_restrictions.retain(|rule| rule.kind != RestrictionKind::Source);
            // Nobody can answer for `mx`: its columns go, and rows that they held back are not in question.
            rows.data_column_classification
                .iter()
                .all(|rule| rule.classification != Code::Mx)
                .then(|| "no source column".to_owned())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_normal_form_says_the_same(predicate in predicate(), a in prop::option::of("[xyz]"), b in prop::option::of("[xyz]")) {
        let value = |column: &str| if column == "a" { a.as_deref() } else { b.as_deref() };
        let normal = predicate.clone().normalised();
        prop_assert_eq!(normal.admits(&value), predicate.admits(&value));
        prop_assert_eq!(normal.clone().normalised(), normal);
    }

    #[test]
    fn a_stricter_rule_lets_nothing_more_leave(
        rows in rules(),
        what in 0..27_usize,
        which in any::<prop::sample::Index>(),
        key in any::<bool>(),
    ) {
        let mut stricter = rows.clone();
        let Some(change) = tighten(&mut stricter, what, which) else { return Ok(()) };
        let (before, after) = (compile(&rows, today(), key), compile(&stricter, today(), key));
        let looser = looser(before.as_ref(), after.as_ref());
        prop_assert_eq!(&looser, &None, "{}", change);
    }

    #[test]
    fn time_and_a_missing_key_only_tighten(rows in rules(), from in 0..5_u64, later in 1..5_u64) {
        for key in [true, false] {
            let (before, after) = (compile(&rows, day(from), key), compile(&rows, day(from + later), key));
            prop_assert_eq!(looser(before.as_ref(), after.as_ref()), None);
        }
        let (with, without) = (compile(&rows, today(), true), compile(&rows, today(), false));
        prop_assert_eq!(looser(with.as_ref(), without.as_ref()), None);
    }

    #[test]
    fn the_order_of_rules_does_not_matter(rows in rules()) {
        let mut reversed = rows.clone();
        reversed.data_column_classification.reverse();
        reversed.actual_data_classifications.reverse();
        reversed.long_table_data_classifications.reverse();
        reversed.column_restrictions.reverse();
        prop_assert_eq!(compile(&rows, today(), true), compile(&reversed, today(), true));
    }

    #[test]
    fn a_policy_is_the_same_when_it_is_read_again(rows in rules()) {
        let Some(policy) = compile(&rows, today(), true) else { return Ok(()) };
        let again: Policy = serde_json::from_str(&serde_json::to_string(&policy).unwrap()).unwrap();
        prop_assert_eq!(&again, &policy);
        let value = serde_json::to_value(&policy).unwrap();
        prop_assert_eq!(&serde_json::from_value::<Policy>(value).unwrap(), &policy);
        // An action that only says that nothing leaves is none of a policy, and all that is searched has its rules.
        let actions = policy.columns.iter().flat_map(|column| &column.care);
        prop_assert!(actions.clone().all(|care| care.action != Action::Drop));
        prop_assert!(policy.pii_rules.is_empty() || policy.columns.iter().any(|column| column.scan));
        // Each column of the catalog has its reason.
        prop_assert!(catalog().iter().all(|column| policy.decisions.iter().any(|decision| decision.column == column.name)));
    }
}
