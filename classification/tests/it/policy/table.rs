//! The decision table, row by row: what becomes of the value of a row, by the codes of its column, its metric and its
//! source.

use classification::Code::{self, De, Hwc, Mx, Nr};
use classification::actions::Action;
use classification::engine::{MetricAsk, Verdict, decide};
use classification::rules::{
    ActionKind, ColumnRule, DeniedCell, ExportTable, MetricRule, Restriction, RestrictionKind, Rows, SourceRule,
};
use classification::{CatalogColumn, ColumnKind, Policy, PolicyError, Predicate, RuleSet, TableName};

use super::{compile, number, text};

/// What becomes of the value of one row.
#[derive(Debug, Clone, PartialEq)]
enum Fate {
    /// The column is not there.
    NoColumn,
    /// The row is dropped.
    NoRow,
    /// The row leaves with NULL in the value's place.
    NoCell,
    /// It leaves, rounded to each of these numbers of decimals: 1 is the column's action, 2 the metric's, 3 the
    /// source's.
    Leaves(Vec<i8>),
}

use Fate::{Leaves, NoCell, NoColumn, NoRow};

/// One row of a table and the rules that concern it.
#[derive(Debug, Clone, Copy)]
struct Case {
    column: Option<Code>,
    /// `None` for a table that is not long.
    metric: Option<Option<Code>>,
    source: Option<Code>,
    /// Whether the column, the metric and the source have actions.
    actions: [bool; 3],
    denied_cell: DeniedCell,
}

impl Case {
    fn policy(&self) -> Result<Policy, PolicyError> {
        let table_name: TableName = "t".parse().unwrap();
        let mut table = ExportTable::new(table_name.clone());
        table.source_column = Some("src".to_owned());
        table.denied_cell = self.denied_cell;
        if self.metric.is_some() {
            table.metric_column = Some("metric".to_owned());
            table.value_column = Some("value".to_owned());
        }
        let column = |name: &str, classification| ColumnRule {
            table_name: table_name.clone(),
            column_name: name.to_owned(),
            classification,
            pii_exempt_by: None,
            pii_exempt_reason: None,
            pii_exempt_until: None,
        };
        let restriction = |(kind, name, decimals, _): (RestrictionKind, &str, i8, bool)| Restriction {
            table_name: table_name.clone(),
            kind,
            name: name.to_owned(),
            action: ActionKind::Generalise,
            params: serde_json::json!({"round": decimals}),
            owner: None,
            reason: None,
            expires_at: None,
        };
        let metric = self.metric.flatten().into_iter().map(|classification| MetricRule {
            table_name: table_name.clone(),
            metric_name: "m".to_owned(),
            classification,
        });
        let source =
            self.source.into_iter().map(|classification| SourceRule { source: "S".to_owned(), classification });
        let restrictions = [
            (RestrictionKind::Column, "value", 1, self.actions[0]),
            (RestrictionKind::Metric, "m", 2, self.actions[1] && self.metric.is_some()),
            (RestrictionKind::Source, "S", 3, self.actions[2]),
        ];
        let rules = RuleSet::from_rows(Rows {
            data_column_classification: [column("id", Nr)]
                .into_iter()
                .chain(self.column.map(|code| column("value", code)))
                .collect(),
            actual_data_classifications: source.collect(),
            long_table_data_classifications: metric.collect(),
            column_restrictions: restrictions.into_iter().filter(|row| row.3).map(restriction).collect(),
            export_tables: vec![table],
            pii_rules: Vec::new(),
        })
        .unwrap();
        let value = CatalogColumn {
            name: "value".to_owned(),
            sql_type: "double precision".to_owned(),
            kind: ColumnKind::Number,
        };
        compile(&rules, &[number("id"), text("metric"), value, text("src")])
    }

    fn fate(&self) -> Fate {
        let policy = self.policy().unwrap();
        let value = |column: &str| match column {
            "metric" => Some("m"),
            "src" => Some("S"),
            _ => None,
        };
        let all = Predicate::All(policy.row_rules.iter().map(|rule| rule.rows.clone()).collect()).normalised();
        assert_eq!(policy.rows, all, "the rows are those of every row rule");
        let Some(column) = policy.columns.iter().find(|column| column.name == "value") else { return NoColumn };
        if !policy.rows.admits(&value) {
            return NoRow;
        }
        if !column.cell.admits(&value) {
            return NoCell;
        }
        let care = column.care.iter().filter(|care| care.when.admits(&value));
        Leaves(
            care.map(|care| match care.action {
                Action::Round { decimals } => decimals,
                ref other => panic!("{other} is no action of this table"),
            })
            .collect(),
        )
    }
}

const ALL: [bool; 3] = [true; 3];
const NONE: [bool; 3] = [false; 3];
const LONG: fn(Code) -> Option<Option<Code>> = |code| Some(Some(code));
/// A metric that nobody has classified.
const UNHEARD: Option<Option<Code>> = Some(None);

#[test]
fn the_decision_table() {
    let any_metric = [None, UNHEARD, LONG(Nr), LONG(Mx), LONG(De), LONG(Hwc)];
    let any_source = [None, Some(Nr), Some(Mx), Some(De), Some(Hwc)];
    let one = |code: Code| vec![Some(code)];
    let not_denied = vec![Some(Nr), Some(Hwc), Some(Mx)];
    let free = vec![None, LONG(Nr)];
    let denied_sources = vec![None, Some(De), Some(Mx)];
    // What is said, columns, metrics, sources, actions that there are, the fate with drop_row and with null_cell.
    let table = [
        ("missing or de", vec![None, Some(De)], any_metric.to_vec(), any_source.to_vec(), ALL, NoColumn, NoColumn),
        ("nr, nothing asked", one(Nr), free.clone(), any_source.to_vec(), ALL, Leaves(vec![]), Leaves(vec![])),
        ("hwc: its action", one(Hwc), free.clone(), any_source.to_vec(), ALL, Leaves(vec![1]), Leaves(vec![1])),
        (
            "hwc without one: deny",
            one(Hwc),
            any_metric.to_vec(),
            any_source.to_vec(),
            [false, true, true],
            NoColumn,
            NoColumn,
        ),
        ("metric denied", not_denied, vec![UNHEARD, LONG(De)], any_source.to_vec(), ALL, NoRow, NoRow),
        (
            "metric hwc: its action",
            one(Nr),
            vec![LONG(Hwc)],
            any_source.to_vec(),
            ALL,
            Leaves(vec![2]),
            Leaves(vec![2]),
        ),
        (
            "metric hwc, column hwc",
            one(Hwc),
            vec![LONG(Hwc)],
            any_source.to_vec(),
            ALL,
            Leaves(vec![1, 2]),
            Leaves(vec![1, 2]),
        ),
        ("metric hwc without one", one(Nr), vec![LONG(Hwc)], any_source.to_vec(), [true, false, true], NoRow, NoRow),
        ("metric hwc, mx, source nr", one(Mx), vec![LONG(Hwc)], one(Nr), ALL, Leaves(vec![2]), Leaves(vec![2])),
        ("metric hwc, mx, source hwc", one(Mx), vec![LONG(Hwc)], one(Hwc), ALL, Leaves(vec![2, 3]), Leaves(vec![2, 3])),
        ("metric hwc, mx, source denied", one(Mx), vec![LONG(Hwc)], denied_sources.clone(), ALL, NoRow, NoCell),
        ("mx, source nr", one(Mx), free.clone(), one(Nr), NONE, Leaves(vec![]), Leaves(vec![])),
        ("mx, source hwc: its action", one(Mx), free.clone(), one(Hwc), ALL, Leaves(vec![3]), Leaves(vec![3])),
        ("mx, source hwc without one", one(Mx), free.clone(), one(Hwc), [true, true, false], NoRow, NoCell),
        ("mx, source denied", one(Mx), free, denied_sources.clone(), ALL, NoRow, NoCell),
        ("metric mx, source nr", one(Nr), vec![LONG(Mx)], one(Nr), NONE, Leaves(vec![]), Leaves(vec![])),
        ("metric mx, source hwc: its action", one(Nr), vec![LONG(Mx)], one(Hwc), ALL, Leaves(vec![3]), Leaves(vec![3])),
        ("metric mx, source hwc without one", one(Nr), vec![LONG(Mx)], one(Hwc), [true, true, false], NoRow, NoRow),
        ("metric mx, source denied", one(Nr), vec![LONG(Mx)], denied_sources.clone(), ALL, NoRow, NoRow),
        ("hwc, metric mx, source nr", one(Hwc), vec![LONG(Mx)], one(Nr), ALL, Leaves(vec![1]), Leaves(vec![1])),
        ("hwc, metric mx, source hwc", one(Hwc), vec![LONG(Mx)], one(Hwc), ALL, Leaves(vec![1, 3]), Leaves(vec![1, 3])),
        ("hwc, metric mx, source denied", one(Hwc), vec![LONG(Mx)], denied_sources.clone(), ALL, NoRow, NoRow),
        ("mx, metric mx, source nr", one(Mx), vec![LONG(Mx)], one(Nr), ALL, Leaves(vec![]), Leaves(vec![])),
        // Both ask for the source; its action is carried out once.
        ("mx, metric mx, source hwc", one(Mx), vec![LONG(Mx)], one(Hwc), ALL, Leaves(vec![3]), Leaves(vec![3])),
        ("mx, metric mx, source denied", one(Mx), vec![LONG(Mx)], denied_sources, ALL, NoRow, NoRow),
    ];
    let mut seen = std::collections::HashSet::new();
    for (said, columns, metrics, sources, actions, dropping, nulling) in table {
        for column in columns {
            for &metric in &metrics {
                for &source in &sources {
                    for (denied_cell, fate) in [(DeniedCell::DropRow, &dropping), (DeniedCell::NullCell, &nulling)] {
                        let case = Case { column, metric, source, actions, denied_cell };
                        assert_eq!(case.fate(), *fate, "{said}: {case:?}");
                        // Where nothing lacks an action: the whole table once.
                        if actions == ALL || !matches!(fate, NoColumn | NoRow | NoCell) {
                            seen.insert((column, metric, source));
                        }
                    }
                }
            }
        }
    }
    assert_eq!(seen.len(), 5 * 6 * 5, "every combination of codes stands in the table");
}

/// The same once more, without a hand-written table: by what the engine says.
#[test]
fn what_leaves_is_what_the_engine_says() {
    let codes = [None, Some(Nr), Some(Mx), Some(De), Some(Hwc)];
    let metrics = [None, UNHEARD, LONG(Nr), LONG(Mx), LONG(De), LONG(Hwc)];
    for column in codes {
        for metric in metrics {
            for source in codes {
                for which in 0..8_u8 {
                    for denied_cell in [DeniedCell::DropRow, DeniedCell::NullCell] {
                        let actions = [which & 1 != 0, which & 2 != 0, which & 4 != 0];
                        let case = Case { column, metric, source, actions, denied_cell };
                        let ask = metric.map_or(MetricAsk::NotAsked, MetricAsk::Metric);
                        let asks_source = column == Some(Mx) || metric == LONG(Mx);
                        let asked = [column == Some(Hwc), metric == LONG(Hwc), asks_source && source == Some(Hwc)];
                        let lacking = asked.iter().zip(actions).any(|(asked, there)| *asked && !there);
                        let leaves = match decide(column, ask, source) {
                            Verdict::Pass => Some(vec![]),
                            Verdict::Care if lacking => None,
                            Verdict::Care => Some((1..=3).filter(|n| asked[usize::from(n - 1_u8)]).collect()),
                            Verdict::Deny => None,
                        };
                        let found = match case.fate() {
                            Leaves(care) => Some(care.into_iter().map(|n| n.unsigned_abs()).collect::<Vec<_>>()),
                            _ => None,
                        };
                        assert_eq!(found, leaves, "{case:?}");
                    }
                }
            }
        }
    }
}
